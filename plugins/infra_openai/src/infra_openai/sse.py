"""Server-sent events, as far as the protocol uses them: the data of each event, from packets cut anywhere."""

from __future__ import annotations

from typing import Final

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = (b"data", b"event", b"id", b"retry", b":")


class ErrorEvent(bytes):
    """The data of an event that is named ``error``."""


class EventDecoder:
    """Cuts packets into the data of events. Works on bytes, so that a character cut in two by the network stays whole.

    Attributes:
        whole: What came, when it is no stream of events but one body (a server that does not stream, a gateway's page); else None.
    """

    __slots__ = ("_data", "_failed", "_known", "_rest", "_returned", "whole")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._failed = False
        self._returned = False  # whether the last byte was a carriage return, which ends a line alone too
        self._known = False  # whether it is a stream of events
        self.whole: bytearray | None = None

    def feed(self, packet: bytes) -> list[bytes]:
        """The data of the events that `packet` completes."""
        if self.whole is not None:
            self.whole += packet
            return []
        if self._returned and packet.startswith(b"\n"):
            packet = packet[1:]  # the second half of a line end that was cut in two
        if packet:
            self._returned = packet.endswith(b"\r")
        if b"\r" in packet:
            packet = packet.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = (self._rest + packet).split(b"\n")
        self._rest = lines.pop()
        if not self._known and not self._look(lines):
            return []
        found: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                # Servers that leave out the empty line: no JSON value goes on so after its end.
                if self._data and self._data[-1].endswith(b"}") and data.startswith((b"{", b"[DONE]")):
                    found.append(self._take())
                self._data.append(data)
            elif not line:
                if self._data:
                    found.append(self._take())
                self._failed = False
            elif line.startswith(b"event:"):
                self._failed = line[6:].strip().lower() == b"error"
        return found

    def flush(self) -> list[bytes]:
        """The data of an event that the end of the connection completes."""
        return self.feed(b"\n\n")

    def _take(self) -> bytes:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        return ErrorEvent(data) if self._failed else data

    def _look(self, lines: list[bytes]) -> bool:
        """Tell by the first line that holds anything whether these are events."""
        if lines and lines[0].startswith(_BOM):
            lines[0] = lines[0][len(_BOM) :]
        first = next((line.strip() for line in lines if line.strip()), None)
        if first is None:
            return False
        self._known = first.startswith(_FIELDS)
        if not self._known:
            self.whole = bytearray(b"\n".join([*lines, self._rest]))
        return self._known
