"""A server in front of moto that fails as told: it reads each request, and answers it itself, changes it, or passes it on."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: ``(operation, request) -> answer``: a pair of status and body to answer with, or None to pass the request on as it then is.
Rule = Callable[[str, dict[str, Any]], "tuple[int, Mapping[str, Any]] | None"]


class FaultyFront:
    """``with FaultyFront(server.port) as front: front.rule = ...; settings(front.url)``.

    Args:
        port: moto's.
    """

    def __init__(self, port: int) -> None:
        self.rule: Rule = lambda operation, request: None
        self.seen: list[tuple[str, dict[str, Any]]] = []
        front, self._passing = self, port

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                operation = self.headers["X-Amz-Target"].partition(".")[2]
                request = json.loads(body)
                front.seen.append((operation, json.loads(body)))
                answer = front.rule(operation, request)
                failed = request.pop("_failed", [])
                if answer is None and failed and not request["Entries"]:
                    answer = 200, {"Successful": [], "Failed": failed}
                if answer is None:
                    status, found = front.passed(json.dumps(request).encode(), dict(self.headers))
                    if failed:
                        changed = json.loads(found)
                        changed["Failed"] = [*changed.get("Failed", []), *failed]
                        found = json.dumps(changed).encode()
                else:
                    status, found = answer[0], json.dumps(answer[1]).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def passed(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """What moto answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._passing, timeout=60)
        kept = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "connection", "expect")}
        connection.request("POST", "/", body, kept)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """The requests of one operation."""
        return [request for name, request in self.seen if name == operation]

    def __enter__(self) -> FaultyFront:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def error(status: int, code: str, message: str = "as the test wants it") -> tuple[int, Mapping[str, Any]]:
    """An answer that is an error."""
    return status, {"__type": f"com.amazonaws.sqs#{code}", "message": message}


def fail_entries(request: dict[str, Any], numbers: set[int], code: str = "InternalError", *, sender: bool = False) -> None:
    """Let some entries of a batch fail, and pass the others on."""
    entries = request["Entries"]
    request["Entries"] = [one for number, one in enumerate(entries) if number not in numbers]
    request["_failed"] = [
        {"Id": one["Id"], "SenderFault": sender, "Code": code, "Message": "as the test wants it"}
        for number, one in enumerate(entries)
        if number in numbers
    ]
