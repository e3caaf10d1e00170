"""Queues on private servers."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from infra.plugin import SharedStores
from infra_sqs.driver import SQSQueueDriver
from infra_testing.harness import Harness, Place
from infra_testing.private import PrivateServer
from infra_testing.pytest_plugin import shared
from infra_testing.services import MotoServer
from infra_testing.services.wire import http_status

#: One for all tests, as in one kernel: the SDK's descriptions are read once.
STORES = SharedStores()


class ExactMotoServer(MotoServer):
    """moto, whose queues are those of SQS."""

    name = "moto-sqs"

    def command(self):
        return [sys.executable, str(Path(__file__).with_name("exact_moto.py")), str(self.port)]

    def forget_duplicates(self):
        assert http_status(self.port, "/exact/forget", method="POST", timeout=30) == 200


@pytest.fixture(scope="session")
def moto_server():
    """The run's one."""
    return shared(ExactMotoServer)


@pytest.fixture(scope="module")
def private_moto():
    """One for the fault cases, behind a proxy."""
    bounds = {"connect_timeout": 5, "read_timeout": 5, "attempts": 1}  # the SDK's clients have these, and no timeout of each call
    server = PrivateServer(ExactMotoServer, lambda port: {"endpoint": f"http://127.0.0.1:{port}", **bounds})
    yield server
    server.close()


@cache
def admin_of(url):
    session = boto3.session.Session(MotoServer.access_key, MotoServer.secret_key, region_name=MotoServer.region)
    return session.client("sqs", endpoint_url=url, config=Config(retries={"total_max_attempts": 5}))


def settings_of(url, fifo=False, **settings):
    """Settings of a new queue of its own."""
    name = f"test-{uuid4().hex}{'.fifo' if fifo else ''}"
    keys = {"access_key_id": MotoServer.access_key, "secret_access_key": MotoServer.secret_key}
    return {"queue": name, "endpoint": url, "region": MotoServer.region, **keys, **settings}


@pytest.fixture
def new_queue():
    """``new_queue(url, fifo=False, **settings)``: settings of a queue of its own."""
    return settings_of


@pytest.fixture
def raw():
    """``raw(url)``: a raw client, to look behind the driver's back."""
    return admin_of


@pytest.fixture
def place(tmp_path):
    """Where resources are opened."""
    return Place(tmp_path / "data", STORES)


@pytest.fixture
def make_queue(place, moto_server):
    """``make_queue(fifo=False, **settings)``: an open queue; with `queue=`, the same one again."""
    made = []

    def make(fifo=False, **settings):
        made.append(Harness("sqs", settings_of(moto_server.url, fifo, **settings)).open("queue", place))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def make_driver(place):
    """``make_driver(settings, client)``: a driver without a portable object around it."""
    made = []

    def make(settings, client=None):
        _, model, context = Harness("sqs").prepare("queue", place, "main", settings)
        made.append(SQSQueueDriver(model, context, client))
        return made[-1]

    yield make
    for driver in made:
        driver.close(1)
