"""Server-sent events, as far as the protocol uses them: the data of each event, from packets cut anywhere."""

from __future__ import annotations

from typing import Final

DONE: Final = b"[DONE]"


class EventDecoder:
    """Cuts packets into the data of events. Works on bytes, so that a character cut in two by the network stays whole."""

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, packet: bytes) -> list[bytes]:
        """The data of the events that `packet` completes."""
        lines = (self._rest + packet).split(b"\n")
        self._rest = lines.pop()
        found: list[bytes] = []
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
            elif not line and self._data:
                found.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
        return found

    def flush(self) -> list[bytes]:
        """The data of an event that the end of the connection completes."""
        return self.feed(b"\n\n")
