"""The driver: bytes in, bytes out."""
# ruff: noqa: ARG002  (a local file needs no timeout)

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.cache.model import CacheFeature, CacheItem, SetMode
from infra.plugin import ErrorCode, OpenContext
from infra_dictfile.settings import DictFileSettings

#: What the file holds: for each key its value in Latin-1, which has a character for each byte, and its end in Unix seconds.
Entries = dict[str, tuple[str, float | None]]


class DictFileDriver:
    """Reads the whole file for each call, and writes it anew for each change, under a lock between processes."""

    features = frozenset({CacheFeature.SHARED})

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def get_many(self, keys: Sequence[str], timeout: float) -> list[bytes | None]:
        entries = self._read()
        return [entries[key][0].encode("latin-1") if key in entries else None for key in keys]

    def set_many(self, items: Sequence[CacheItem], mode: SetMode, timeout: float) -> list[bool]:
        written: list[bool] = []
        with self._changing() as entries:
            for key, value, ttl_ms in items:
                allowed = mode is SetMode.SET or (key in entries) is (mode is SetMode.REPLACE)
                if allowed:
                    entries[key] = (value.decode("latin-1"), None if ttl_ms is None else time.time() + ttl_ms / 1000)
                written.append(allowed)
        return written

    def delete_many(self, keys: Sequence[str], timeout: float) -> list[bool]:
        with self._changing() as entries:
            return [entries.pop(key, None) is not None for key in keys]

    def ping(self, timeout: float) -> None:
        self._read()

    def close(self, timeout: float) -> None:
        pass  # no file stays open

    def classify(self, error: BaseException) -> ErrorCode | None:
        return ErrorCode.UNAVAILABLE if isinstance(error, OSError) else None

    def unwrap(self) -> Sequence[object]:
        return (self.path,)

    def _read(self) -> Entries:
        now = time.time()
        entries: Entries = json.loads(self.path.read_bytes()) if self.path.exists() else {}
        return {key: entry for key, entry in entries.items() if entry[1] is None or entry[1] > now}

    @contextmanager
    def _changing(self) -> Generator[Entries]:
        with self.path.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = self._read()
            yield entries
            fresh = self.path.with_suffix(".new")
            fresh.write_text(json.dumps(entries))
            fresh.replace(self.path)


def open_driver(settings: DictFileSettings, context: OpenContext) -> DictFileDriver:
    """A driver on the resource's file."""
    return DictFileDriver(settings.path or context.data_dir / f"cache-{context.name}.json")
