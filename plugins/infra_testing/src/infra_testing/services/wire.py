"""Asking a server whether it is up, with nothing but sockets: launchers must not need a client library."""

from __future__ import annotations

import http.client
import socket


def exchange(port: int, message: bytes, *, size: int = 4096, timeout: float = 2.0) -> bytes:
    """What a server of 127.0.0.1 answers first to `message` (which may be empty); nothing when it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
            connection.sendall(message)
            return connection.recv(size)
    except OSError:
        return b""


def http_status(port: int, path: str = "/", *, method: str = "GET", timeout: float = 2.0) -> int:
    """The status of a request to 127.0.0.1; 0 when there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
