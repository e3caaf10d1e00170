"""Each fault of the proxy, seen by a plain socket in front of an echo server."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from infra_testing.proxy import Direction, FaultProxy


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes; notes how connections end."""

    def handle(self) -> None:
        ends: list[str] = self.server.ends  # type: ignore[attr-defined]
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
            ends.append("closed")
        except OSError:
            ends.append("reset")


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        server.ends = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    with FaultProxy(echo.server_address[1]) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connect(proxy) as client:
        yield client


def connect(proxy: FaultProxy, timeout: float = 60.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout)


def ends_of(echo: EchoServer) -> list[str]:
    """How connections ended, once one has: the server's thread notes it a moment after the proxy."""
    ends: list[str] = echo.ends  # type: ignore[attr-defined]
    deadline = time.monotonic() + 60
    while not ends:
        assert time.monotonic() < deadline, "the server sees no end"
        time.sleep(0.005)
    return ends


def read(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := client.recv(size - len(data))):
        data += part
    return data


def ask(client: socket.socket, message: bytes = b"hello") -> bytes:
    client.sendall(message)
    return read(client, len(message))


def assert_silent(client: socket.socket, seconds: float = 0.15) -> None:
    client.settimeout(seconds)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(60)


def test_what_is_sent_comes_back_whole_and_is_counted(proxy: FaultProxy, client: socket.socket) -> None:
    message = bytes(range(256)) * 20_000
    sender = threading.Thread(target=client.sendall, args=(message,))
    sender.start()
    assert read(client, len(message)) == message
    sender.join()
    assert proxy.accepted == proxy.open_connections == 1
    assert proxy.bytes_passed(Direction.TO_SERVER) == proxy.bytes_passed(Direction.TO_CLIENT) == len(message)


def test_a_closing_client_closes_the_servers_side(proxy: FaultProxy, echo: EchoServer) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    proxy.wait_until(lambda proxy: not proxy._links)
    assert ends_of(echo) == ["closed"]


def test_delay_is_added_each_way_and_does_not_slow_the_flow(proxy: FaultProxy, client: socket.socket) -> None:
    assert ask(client) == b"hello"
    proxy.delay(0.1)
    began = time.monotonic()
    for _ in range(5):
        client.sendall(b"x")
    assert read(client, 5) == b"xxxxx"
    assert time.monotonic() - began >= 0.2
    proxy.heal()
    assert ask(client) == b"hello"


def test_throttle_bounds_the_rate(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.throttle(100_000, Direction.TO_CLIENT)
    began = time.monotonic()
    assert ask(client, b"x" * 30_000) == b"x" * 30_000
    assert time.monotonic() - began >= 0.25
    assert proxy.bytes_passed(Direction.TO_CLIENT) == 30_000


def test_reset_is_seen_on_both_sides_and_new_connections_pass(proxy: FaultProxy, client: socket.socket, echo: EchoServer) -> None:
    assert ask(client) == b"hello"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connect(proxy) as second:
        assert ask(second) == b"hello"
    proxy.wait_until(lambda proxy: proxy.accepted == 2)
    assert ends_of(echo)[0] == "reset"


def test_disconnect_ends_connections_in_good_order(proxy: FaultProxy, client: socket.socket) -> None:
    assert ask(client) == b"hello"
    proxy.disconnect()
    assert client.recv(1) == b""


def test_a_black_hole_says_nothing_and_loses_nothing(proxy: FaultProxy, client: socket.socket) -> None:
    assert ask(client) == b"hello"
    proxy.black_hole()
    client.sendall(b"later")
    assert_silent(client)
    with connect(proxy) as second:
        second.sendall(b"also")
        assert_silent(second)
        proxy.heal()
        assert read(second, 4) == b"also"
    assert read(client, 5) == b"later"


@pytest.mark.parametrize("direction", list(Direction))
def test_one_direction_can_be_cut_alone(proxy: FaultProxy, client: socket.socket, direction: Direction) -> None:
    assert ask(client) == b"hello"
    proxy.black_hole(direction)
    client.sendall(b"there")
    assert_silent(client)
    arrived = 5 + 5 * (direction is Direction.TO_CLIENT)
    proxy.wait_until(lambda proxy: proxy.bytes_passed(Direction.TO_SERVER) == arrived)
    assert proxy.bytes_passed(Direction.TO_CLIENT) == 5
    proxy.heal()
    assert read(client, 5) == b"there"


def test_half_open_the_server_forgets_and_the_client_is_not_told(proxy: FaultProxy, client: socket.socket, echo: EchoServer) -> None:
    assert ask(client) == b"hello"
    proxy.half_open()
    client.sendall(b"anybody?")
    assert_silent(client)
    with connect(proxy) as second:
        second.sendall(b"and now?")
        assert_silent(second)
    assert ends_of(echo) == ["reset"]
    proxy.heal()
    client.sendall(b"still there?")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connect(proxy) as third:
        assert ask(third) == b"hello"


def test_refused_connections_while_open_ones_stay(proxy: FaultProxy, client: socket.socket) -> None:
    assert ask(client) == b"hello"
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert ask(client) == b"hello"
    proxy.heal()
    with connect(proxy) as second:
        assert ask(second) == b"hello"


@pytest.mark.parametrize("then", ["close", "reset", "hang"])
def test_truncate_lets_so_many_bytes_through(proxy: FaultProxy, client: socket.socket, then: str) -> None:
    assert ask(client, b"x" * 100) == b"x" * 100
    proxy.truncate(7, then=then)  # type: ignore[arg-type]
    client.sendall(b"abcdefghij")
    if then == "reset":
        with pytest.raises(ConnectionResetError):
            read(client, 10)
        return
    assert read(client, 7) == b"abcdefg"
    if then == "close":
        assert client.recv(1) == b""
    else:
        assert_silent(client)


def test_truncate_counts_on_each_connection_from_the_call_on(proxy: FaultProxy, client: socket.socket) -> None:
    assert ask(client, b"x" * 100) == b"x" * 100
    proxy.truncate(10, Direction.TO_SERVER)
    assert ask(client, b"12345") == b"12345"
    with connect(proxy) as second:
        assert ask(second, b"12345") == b"12345"
    assert proxy.bytes_passed(Direction.TO_SERVER) == 110


def test_a_client_is_reset_when_the_server_does_not_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with FaultProxy(port) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


def test_the_url_points_at_the_proxy_and_keeps_the_rest(proxy: FaultProxy) -> None:
    url = f"amqp://guest:secret@127.0.0.1:{proxy.target}/%2F?heartbeat=5"
    assert proxy.url_of(url) == f"amqp://guest:secret@127.0.0.1:{proxy.port}/%2F?heartbeat=5"


def test_waiting_for_a_count_that_never_comes_times_out(proxy: FaultProxy) -> None:
    with pytest.raises(TimeoutError, match="0 connections"):
        proxy.wait_until(lambda proxy: proxy.accepted == 1, timeout=0.05)


def test_closing_twice_is_harmless(echo: EchoServer) -> None:
    proxy = FaultProxy(echo.server_address[1]).start()
    proxy.close()
    proxy.close()
