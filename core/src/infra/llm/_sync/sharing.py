# Generated from sharing.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Concurrent equal streams share one: each reader gets every event from the first on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager

from infra.llm.events import StreamEvent
from infra.runtime.threads import Background, Condition, Lock, Stop


class SharedStream:
    """A stream with several readers. It is fetched beside them and kept until the last one leaves.

    Args:
        events: The stream.
        name: Whose it is, for the log.
    """

    def __init__(self, events: Generator[StreamEvent], name: str) -> None:
        self.readers = 0
        self._ended = False
        self._events = events
        self._seen: list[StreamEvent] = []
        self._error: Exception | None = None
        self._claimed = False
        self._changed = Condition()
        self._background = Background(name)
        self._background.start(self._fetch, "stream")

    def claim(self) -> bool:
        """True for the first who asks: the one that the answer is billed to, and that keeps it."""
        claimed, self._claimed = self._claimed, True
        return not claimed

    def read(self) -> Generator[StreamEvent]:
        """All events, from the first."""
        position = 0
        while True:
            while position < len(self._seen):
                yield self._seen[position]
                position += 1
            with self._changed:
                while position == len(self._seen) and not self._ended:
                    self._changed.wait()
            if position == len(self._seen):
                if self._error is not None:
                    raise self._error
                return

    @property
    def failed(self) -> bool:
        """Whether it has ended with an error."""
        return self._error is not None

    def close(self) -> None:
        """End it, as nobody reads it any more. A thread that waits for an event ends with that event."""
        self._background.stop(0)

    def _fetch(self, stop: Stop) -> None:
        try:
            with closing(self._events) as events:
                for event in events:
                    with self._changed:
                        self._seen.append(event)
                        self._changed.notify_all()
                    if stop.is_set():
                        break
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


class SharedStreams:
    """The streams under way, by key.

    Args:
        name: Whose they are, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._streams: dict[str, SharedStream] = {}

    def forget(self, key: str) -> None:
        """Let nobody further join the stream under `key`."""
        self._streams.pop(key, None)

    @contextmanager
    def join(self, key: str, begin: Callable[[], Generator[StreamEvent]]) -> Generator[SharedStream]:
        """The stream under `key`, begun when none is under way; it ends when the last reader leaves."""
        with self._lock:
            shared = self._streams.get(key)
            if shared is None or shared.failed:
                shared = self._streams[key] = SharedStream(begin(), self._name)
            shared.readers += 1
        try:
            yield shared
        finally:
            with self._lock:
                shared.readers -= 1
                last = not shared.readers
                if last and self._streams.get(key) is shared:
                    del self._streams[key]
            if last:
                shared.close()
