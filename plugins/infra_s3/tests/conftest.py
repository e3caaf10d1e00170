"""Buckets on private servers."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from infra.plugin import SharedStores
from infra_s3.driver import S3StorageDriver
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import shared
from infra_testing.services import MotoServer

#: One for all tests, as in one kernel: the SDK's description of S3 is read once.
STORES = SharedStores()


class AtomicMotoServer(MotoServer):
    """moto, whose conditional writes are atomic."""

    name = "moto-s3"

    def command(self):
        return [sys.executable, str(Path(__file__).with_name("atomic_moto.py")), str(self.port)]


@pytest.fixture(scope="session")
def moto_server():
    """The run's one."""
    return shared(AtomicMotoServer)


@cache
def admin_of(server):
    """A raw client, to make buckets and to look behind the driver's back."""
    config = Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}, retries={"total_max_attempts": 5})
    session = boto3.session.Session(server.access_key, server.secret_key, region_name=server.region)
    return session.client("s3", endpoint_url=server.url, config=config)


@pytest.fixture
def make_bucket():
    """``settings, client = make_bucket(server, **settings)``: a new bucket, and a raw client to look behind the driver's back."""
    made = []

    def make(server, **settings):
        client, name = admin_of(server), f"bucket-{uuid4().hex}"
        client.create_bucket(Bucket=name)
        made.append((client, name))
        keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
        return {"bucket": name, "endpoint": server.url, **keys, **settings}, client

    yield make
    for client, name in made:
        while found := client.list_objects_v2(Bucket=name).get("Contents"):
            client.delete_objects(Bucket=name, Delete={"Objects": [{"Key": entry["Key"]} for entry in found]})


@pytest.fixture
def place(tmp_path):
    """Where resources are opened."""
    return Place(tmp_path / "data", STORES)


@pytest.fixture
def make_driver(place):
    """``make_driver(settings)``: a driver without a portable object around it."""
    made = []

    def make(settings, client=None):
        _, model, context = Harness("s3").prepare("storage", place, "main", settings)
        made.append(S3StorageDriver(model, context, client))
        return made[-1]

    yield make
    for driver in made:
        driver.close(1)
