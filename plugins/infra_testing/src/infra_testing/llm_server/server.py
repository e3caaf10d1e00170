"""The scripted server."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from infra_testing.llm_server.rules import answer, choose, deltas_of, message_of


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came.

    Args:
        method: ``POST``.
        path: Below the session, with its query.
        headers: By their names in small letters.
        body: The decoded JSON; empty when there was none.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(slots=True)
class Session:
    """What one client did: each has a script of its own, whose used-up rules are nobody else's.

    Args:
        script: Its rules.
        key: The API key that it asks for; None takes any.
        models: The models that it has; None has all.
        refuses: The status and words of the refusal of a request that has this field; `encoding_format` only as ``base64``.
        list_status: The status of the answer to a request for the list of models, where it has none.
        vectors: The whole answer to a request for vectors; None makes them.
        seen: The requests that came.
        connections: The connections that they came over.
        answering: How many answers are neither complete nor left by their reader, who is missed at the next packet.
        most: The most answers that were so at once.
    """

    script: Sequence[Mapping[str, Any]]
    key: str | None = None
    models: frozenset[str] | None = None
    refuses: Mapping[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    list_status: int | None = None
    vectors: str | None = None
    seen: list[Seen] = field(default_factory=list[Seen])
    connections: set[object] = field(default_factory=set[object])
    answering: int = 0
    most: int = 0
    used: dict[int, int] = field(default_factory=dict[int, int])
    lock: threading.Lock = field(default_factory=threading.Lock)


class ScriptedLLMServer:
    """Serves chat completions, streams, embeddings and the list of models, on a free port of 127.0.0.1.

    ``session(script)`` begins a conversation and gives it with the URL that it is held at: ``{url}/v1`` for the usual paths,
    ``{url}`` as the endpoint of Azure's. A rule is one of `infra_testing.conformance.llm.SCRIPT`, or has

    - ``packets``: what to send as the answer's body, byte for byte; a number waits so many seconds; None breaks the connection off,
      instead of ending the answer;
    - ``headers``: further headers of the answer;
    - ``body``: the text of a whole answer;
    - ``echo_key``: the message of a failure repeats the key.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._closing = threading.Event()
        owner = self

        class Handler(_Handler):
            server_of = owner

        self._http = _HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, name="scripted-llm", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.server_address[1]

    def session(
        self, script: Sequence[Mapping[str, Any]], *, key: str | None = None, models: Sequence[str] | None = None
    ) -> tuple[Session, str]:
        """A new conversation, and its URL without ``/v1``."""
        name = uuid.uuid4().hex
        made = self._sessions[name] = Session(script, key, None if models is None else frozenset(models))
        return made, f"http://127.0.0.1:{self.port}/{name}"

    def found(self, name: str) -> Session | None:
        """The session of a name."""
        return self._sessions.get(name)

    def pause(self, seconds: float) -> None:
        """Wait; not once the server closes."""
        self._closing.wait(seconds)

    def close(self) -> None:
        """Stop serving."""
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server_of: ScriptedLLMServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base's name)
        """Say nothing."""

    def do_GET(self) -> None:
        """The list of models."""
        session, path = self._note({})
        if session is None or not path.partition("?")[0].endswith("/models"):
            self._fail(404, f"no such path: {path}")
        elif not self._authorised(session):
            self._fail(401, "Incorrect API key provided.", code="invalid_api_key")
        elif session.list_status is not None:
            self._fail(session.list_status, "there is no list of models")
        else:
            self._json({"object": "list", "data": [{"id": name, "object": "model"} for name in session.models or ("a-model",)]})

    def do_POST(self) -> None:
        """An answer, a stream, or vectors."""
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        session, path = self._note(body)
        if session is None:
            self._fail(404, f"no such path: {path}")
        elif not self._authorised(session):
            self._fail(401, "Incorrect API key provided.", code="invalid_api_key")
        elif session.models is not None and body.get("model") not in session.models:
            self._fail(404, f"The model `{body.get('model')}` does not exist.", code="model_not_found")
        elif (refusal := self._refusal(session, body)) is not None:
            self._fail(*refusal)
        elif path.partition("?")[0].endswith("/embeddings"):
            if session.vectors is None:
                self._embed(body)
            else:
                self._send(200, session.vectors.encode(), {})
        elif path.partition("?")[0].endswith("/chat/completions"):
            with session.lock:
                rule = choose(session.script, session.used, body)
                session.answering += 1
                session.most = max(session.most, session.answering)
            try:
                self._chat(rule, body)
            finally:
                with session.lock:
                    session.answering -= 1
        else:
            self._fail(404, f"no such path: {path}")

    def _note(self, body: Mapping[str, Any]) -> tuple[Session | None, str]:
        name, _, path = self.path.removeprefix("/").partition("/")
        session = self.server_of.found(name)
        if session is not None:
            session.seen.append(Seen(self.command, f"/{path}", {key.lower(): value for key, value in self.headers.items()}, body))
            session.connections.add(self.client_address)
        return session, f"/{path}"

    def _key(self) -> str:
        return self.headers.get("api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")

    def _authorised(self, session: Session) -> bool:
        return session.key is None or self._key() == session.key

    def _refusal(self, session: Session, body: Mapping[str, Any]) -> tuple[int, str] | None:
        named = (name for name in session.refuses if name in body and (name != "encoding_format" or body[name] == "base64"))
        return next((session.refuses[name] for name in named), None)

    def _chat(self, rule: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        stream = bool(body.get("stream"))
        if rule.get("status") is not None:
            headers = dict(rule.get("headers", {}))
            if "retry_after" in rule:
                headers["retry-after"] = str(rule["retry_after"])
            told = rule.get("reply", f"a rule fails with status {rule['status']}")
            self._fail(rule["status"], f"{told} {self._key()}" if rule.get("echo_key") else told, rule.get("code"), headers)
            return
        if rule.get("delay") and not stream and not rule.get("delay_after"):
            self.server_of.pause(rule["delay"])
        if "packets" in rule:
            self._stream(rule["packets"])
        elif "body" in rule:
            self._send(200, rule["body"].encode(), rule.get("headers", {}))
        elif stream:
            self._stream(self._packets(rule, body))
        else:
            made = answer(rule, body)
            choice = {"index": 0, "message": message_of(made), "finish_reason": made.finish}
            self._json({**self._head(body, "chat.completion"), "choices": [choice], "usage": made.usage})

    def _head(self, body: Mapping[str, Any], kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": 1, "model": body["model"]}

    def _packets(self, rule: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes | float | None]:
        """A stream as OpenAI sends it, with the delays and the break of its rule."""
        made = answer(rule, body)
        head = self._head(body, "chat.completion.chunk")

        def event(**fields: Any) -> bytes:
            return b"data: " + json.dumps({**head, **fields}, ensure_ascii=False).encode() + b"\n\n"

        for number, delta in enumerate(deltas_of(made)):
            if rule.get("break_after") == number:
                yield None
            if rule.get("delay") and rule.get("delay_after", 0) == number:
                yield float(rule["delay"])
            yield event(choices=[{"index": 0, "delta": delta, "finish_reason": None}], usage=None)
        yield event(choices=[{"index": 0, "delta": {}, "finish_reason": made.finish}], usage=None)
        wanted: dict[str, Any] = body.get("stream_options") or {}
        if wanted.get("include_usage"):
            yield event(choices=[], usage=made.usage)
        yield b"data: [DONE]\n\n"

    def _stream(self, packets: Any) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for packet in packets:
            self.wfile.flush()  # what came before; the last packet travels with the end
            if packet is None:
                self.close_connection = True
                return
            if isinstance(packet, bytes):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(packet), packet))
            else:
                self.server_of.pause(packet)
        self.wfile.write(b"0\r\n\r\n")

    def _embed(self, body: Mapping[str, Any]) -> None:
        entries: list[dict[str, Any]] = []
        for index, text in enumerate(body["input"]):
            length = body.get("dimensions") or 8
            digest = hashlib.shake_128(text.encode()).digest(length)
            numbers = struct.pack(f"<{length}f", *(byte / 255 for byte in digest))
            packed = body.get("encoding_format") == "base64"
            vector = base64.b64encode(numbers).decode() if packed else list(struct.unpack(f"<{length}f", numbers))
            entries.append({"object": "embedding", "index": index, "embedding": vector})
        entries.reverse()  # the index says the order, not the place
        used = sum(len(text) // 4 + 1 for text in body["input"])
        self._json({"object": "list", "data": entries, "model": body["model"], "usage": {"prompt_tokens": used, "total_tokens": used}})

    def _fail(self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        error = {"message": message, "type": "scripted_error", "param": None, "code": code}
        self._send(status, json.dumps({"error": error}).encode(), {"x-request-id": "req-scripted", **(headers or {})})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value, ensure_ascii=False).encode(), {})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
