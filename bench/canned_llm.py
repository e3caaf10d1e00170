"""A server of the OpenAI protocol that always answers the same, as fast as it can: ``canned_llm.py PORT CHUNKS``.

It runs in a process of its own, so that its work is not taken for the client's.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

if __name__ != "__main__":
    from infra_testing.services import Server
    from infra_testing.services.wire import http_status

    class CannedLLM(Server):
        """The server as suites start it.

        Args:
            chunks: The pieces of a stream.
        """

        name = "canned-llm"
        remedy = "nothing: it is part of the benchmarks"

        def __init__(self, chunks: int = 200) -> None:
            super().__init__()
            self.chunks = chunks

        @classmethod
        def find_version(cls) -> str:
            """It is as old as the benchmarks."""
            return "1"

        def command(self) -> list[str]:
            """This file."""
            return [sys.executable, str(Path(__file__).resolve()), str(self.port), str(self.chunks)]

        def ping(self) -> bool:
            """Answers any path."""
            return http_status(self.port, "/v1/models") == 200

        @property
        def url(self) -> str:
            """The base URL."""
            return f"http://127.0.0.1:{self.port}/v1"


HEAD = {"id": "chatcmpl-1", "created": 1, "model": "a-model"}
USAGE = {"prompt_tokens": 21, "completion_tokens": 200, "total_tokens": 221}
SENTENCE = "A message queue lets the parts of a system hand work to each other without waiting for one another. " * 4


def reply(body: bytes, kind: str) -> bytes:
    """A whole answer of HTTP."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind.encode(), len(body), body)


def answers(chunks: int) -> tuple[bytes, list[bytes], bytes]:
    """A completion, the packets of a stream, and the list of models."""
    choice = {"index": 0, "message": {"role": "assistant", "content": SENTENCE}, "logprobs": None, "finish_reason": "stop"}
    whole = json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    models = json.dumps({"object": "list", "data": [{"id": "a-model", "object": "model"}]}).encode()

    def event(choices: list[object], usage: object = None) -> bytes:
        fields = {**HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
        return b"data: " + json.dumps(fields).encode() + b"\n\n"

    def part(delta: dict[str, str], reason: str | None = None) -> dict[str, object]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    events = [event([part({"role": "assistant", "content": ""})])]
    events += [event([part({"content": f"word{number} "})]) for number in range(chunks)]
    events += [event([part({}, "stop")]), event([], USAGE), b"data: [DONE]\n\n"]
    packets = [b"%x\r\n%s\r\n" % (len(one), one) for one in events]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    # A few events a packet, as they come from a fast model.
    joined = [head] + [b"".join(packets[start : start + 4]) for start in range(0, len(packets), 4)]
    joined[-1] += b"0\r\n\r\n"
    return reply(whole, "application/json"), joined, reply(models, "application/json")


class Connection(asyncio.Protocol):
    """One client."""

    whole, stream, models = b"", list[bytes](), b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers leave at once."""
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer when a request is complete."""
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        if len(body) < length:
            return
        self.buffer = b""
        if head.startswith(b"GET"):
            self.transport.write(self.models)
        elif b'"stream":true' in body.replace(b" ", b""):
            for packet in self.stream:
                self.transport.write(packet)
        else:
            self.transport.write(self.whole)


async def serve(port: int, chunks: int) -> None:
    """Until it is killed."""
    Connection.whole, Connection.stream, Connection.models = answers(chunks)
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=256)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
