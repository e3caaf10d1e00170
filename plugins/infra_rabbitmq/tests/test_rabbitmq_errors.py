"""What an operator reads when something is wrong: one line with the resource, the cause and what to do about it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from infra import AsyncInfra, Infra
from infra.errors import ErrorCode, InfraError
from infra_rabbitmq.errors import BrokerError
from infra_rabbitmq.link import Link
from infra_rabbitmq.settings import RabbitMQQueueSettings
from infra_testing.services import RabbitMQServer

PASSWORD = "a-password-that-nobody-may-read"
WRONG = f"not-{PASSWORD}"
INTERNAL = "rabbit_auth_backend_internal"


class Accounts:
    """Accounts and queues of the tests' own: one that may do nothing in its virtual host, one that has none, one that may only read.

    Args:
        server: The run's broker.
    """

    def __init__(self, server: RabbitMQServer) -> None:
        self.server = server
        mark = uuid.uuid4().hex[:8]
        self.poor, self.stranger, self.reader = f"poor-{mark}", f"stranger-{mark}", f"reader-{mark}"
        rights = {self.poor: "", self.reader: ".*"}
        steps = [f'{INTERNAL}:add_user(<<"{user}">>, <<"{PASSWORD}">>, <<>>)' for user in (self.poor, self.stranger, self.reader)]
        steps += [f'{INTERNAL}:set_permissions(<<"{user}">>, <<"/">>, <<>>, <<>>, <<"{read}">>, <<>>)' for user, read in rights.items()]
        server.ctl("eval", ", ".join(steps) + ".")  # one call: each starts a virtual machine of its own
        self.plain, self.owned = f"plain.{mark}", f"owned.{mark}"
        self._connection = pika.BlockingConnection(pika.URLParameters(server.url))
        self._channel = self._connection.channel()
        self._channel.queue_declare(self.plain, durable=True)
        self._channel.queue_declare(self.owned, exclusive=True)

    def close(self) -> None:
        self._channel.queue_delete(self.plain)
        self._connection.close()


@pytest.fixture(scope="module")
def accounts(rabbitmq_server: RabbitMQServer) -> Iterator[Accounts]:
    accounts = Accounts(rabbitmq_server)
    yield accounts
    accounts.close()


CASES: dict[str, tuple[dict[str, object], ErrorCode, str, str]] = {
    "wrong password": ({"password": WRONG}, ErrorCode.UNAUTHENTICATED, "the username or the password is wrong", "`password`"),
    "unknown user": ({"username": "nobody"}, ErrorCode.UNAUTHENTICATED, "the username or the password is wrong", "`username`"),
    "unknown virtual host": ({"vhost": "nowhere"}, ErrorCode.CONFIGURATION, "there is no virtual host 'nowhere'", "`vhost`"),
    "foreign virtual host": (
        {"username": "{stranger}", "password": PASSWORD},
        ErrorCode.PERMISSION_DENIED,
        "user '{stranger}' has no access to the virtual host '/'",
        "`vhost`",
    ),
    "refused port": ({"port": 1}, ErrorCode.UNAVAILABLE, "127.0.0.1:1: connection refused", "`port`"),
    "unknown host": ({"host": "nowhere.invalid"}, ErrorCode.UNAVAILABLE, "nowhere.invalid:{port}: unknown host", "`host`"),
    "another server": ({"port": "{epmd}"}, ErrorCode.CONFIGURATION, "what listens there does not speak AMQP 0-9-1", "`port`"),
    "no TLS": ({"tls": True}, ErrorCode.UNAVAILABLE, "TLS failed", "`tls`"),
    "no certificate": ({"tls": True, "ca_file": "/nowhere.pem"}, ErrorCode.CONFIGURATION, "cannot be read", "`ca_file`"),
    "missing queue": ({"queue": "nowhere", "topology": "check"}, ErrorCode.NOT_FOUND, "there is no queue 'nowhere'", "create it"),
    "unroutable": ({"queue": "nowhere", "topology": "none"}, ErrorCode.NOT_FOUND, "there is no queue 'nowhere'", "`queue`"),
    "other arguments": ({"queue": "{plain}"}, ErrorCode.CONFIGURATION, "the queue '{plain}' is there with other arguments", "`topology"),
    "somebody's own": ({"queue": "{owned}"}, ErrorCode.CONFLICT, "the queue '{owned}' belongs to another connection", "`queue`"),
    "reserved name": ({"queue": "amq.jobs"}, ErrorCode.CONFIGURATION, "are the broker's own", "`queue`"),
    "long name": ({"queue": "x" * 201}, ErrorCode.INVALID_ARGUMENT, "200 bytes", "`queue`"),
    "may not declare": (
        {"username": "{poor}", "password": PASSWORD},
        ErrorCode.PERMISSION_DENIED,
        "user '{poor}' has no permission on the exchange 'infra.dead'",
        "`username`",
    ),
    "may not publish": (
        {"username": "{reader}", "password": PASSWORD, "queue": "{plain}", "topology": "check"},
        ErrorCode.PERMISSION_DENIED,
        "user '{reader}' has no permission on the exchange",
        "`username`",
    ),
}


def filled(accounts: Accounts, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    server = accounts.server
    names = {"poor": accounts.poor, "stranger": accounts.stranger, "reader": accounts.reader, "plain": accounts.plain}
    return value.format(**names, owned=accounts.owned, port=server.port, epmd=server.ports[2])


def prepared(accounts: Accounts, name: str) -> tuple[dict[str, Any], ErrorCode, str, str]:
    change, code, said, remedy = CASES[name]
    settings = {"provider": "rabbitmq", "startup": "lazy", **RabbitMQQueueSettings.expand_url(accounts.server.url)}
    settings |= {key: filled(accounts, value) for key, value in change.items()}
    return {"queue": {"main": settings}}, code, filled(accounts, said), remedy


def check(error: InfraError, code: ErrorCode, said: str, remedy: str) -> None:
    line = str(error)
    assert error.code is code
    assert error.resource == "queue.main"
    assert line.startswith("queue.main: ")
    assert said in line
    assert error.remedy is not None
    assert remedy in error.remedy
    assert error.remedy in line
    assert "\n" not in line
    assert PASSWORD not in line
    assert "Error" not in line, "an exception's name is no cause"


@pytest.mark.parametrize("case", list(CASES))
def test_what_is_wrong_is_said_in_one_line(accounts: Accounts, tmp_path: Path, case: str) -> None:
    settings, code, said, remedy = prepared(accounts, case)
    with Infra(settings, root=tmp_path, environ={}) as services, pytest.raises(InfraError) as caught:
        services.queue().publish(b"x", timeout=5)
    check(caught.value, code, said, remedy)


@pytest.mark.parametrize("case", ["wrong password", "unknown virtual host", "refused port", "missing queue", "other arguments"])
async def test_asyncio_says_the_same(accounts: Accounts, tmp_path: Path, case: str) -> None:
    settings, code, said, remedy = prepared(accounts, case)
    async with AsyncInfra(settings, root=tmp_path, environ={}) as services:
        with pytest.raises(InfraError) as caught:
            await services.open("queue.main")
    check(caught.value, code, said, remedy)


def test_who_stops_waiting_for_a_connection_does_not_cancel_it_for_others() -> None:
    parameters = pika.ConnectionParameters("127.0.0.1", 1)
    link = Link("test", lambda: parameters, up=lambda: None, down=lambda _: None)
    assert not link.start().cancel()
    with pytest.raises(BrokerError):
        link.opened.result(60)
    ended = link.close()
    assert not ended.cancel()
    ended.result(60)
