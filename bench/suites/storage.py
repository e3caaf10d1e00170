"""Storage, embedded.

Objects as files beside plain open, write and read of the same bytes with the same syncs (file and folder), the least that makes a write
survive a power failure and appear as a whole.
"""

from __future__ import annotations

import hashlib
import os
from itertools import count as counter
from pathlib import Path
from typing import Any

from harness import Bench, Contender

from infra.storage.model import PutOptions

SMALL = os.urandom(4 * 1024)
LARGE = os.urandom(16 * 1024 * 1024)
TIMEOUT = 30.0


def write_plain(folder: Path, name: str, data: bytes, *, sync: bool) -> None:
    """Write a file that appears as a whole."""
    part = folder / f"{name}.part"
    with part.open("wb", buffering=0) as file:
        file.write(data)
        if sync:
            os.fsync(file.fileno())
    part.replace(folder / name)
    if sync:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def measure(bench: Bench) -> None:
    """Small and large objects as files, small ones in memory."""
    bench.packages += ["infra-local"]
    folder = bench.folder / "plain"
    folder.mkdir()
    for durability, sync in (("full", True), ("none", False)):
        files(bench, folder, bench.open("storage", "local", durability=durability), sync=sync)
    memory(bench)


def files(bench: Bench, folder: Path, bucket: Any, *, sync: bool) -> None:
    """The file provider."""
    says = "synced" if sync else "not synced"
    names = counter()
    options = PutOptions()
    bench.compare(
        f"files, {says}: put 4 KiB",
        Contender("write, rename", bench.repeat(lambda: write_plain(folder, f"{next(names)}", SMALL, sync=sync))),
        Contender("driver", bench.repeat(lambda: bucket.driver.put(f"d/{next(names)}", SMALL, options, TIMEOUT))),
        Contender("portable", bench.repeat(lambda: bucket.put(f"p/{next(names)}", SMALL))),
        operations=200,
    )
    bench.compare(
        f"files, {says}: put 16 MiB",
        Contender("SHA-256, write, rename", bench.repeat(lambda: digest_and_write(folder, sync=sync))),
        Contender("portable", bench.repeat(lambda: bucket.put("large", LARGE))),
        operations=2,
    )
    if not sync:
        return
    bucket.put("small", SMALL)
    write_plain(folder, "small", SMALL, sync=False)
    write_plain(folder, "large", LARGE, sync=False)
    bench.compare(
        "files: get 4 KiB",
        Contender("read", bench.repeat((folder / "small").read_bytes)),
        Contender("driver", bench.repeat(lambda: read_by_driver(bucket, "small"))),
        Contender("portable", bench.repeat(lambda: bucket.get("small"))),
        operations=1_000,
    )
    bench.compare(
        "files: get 16 MiB",
        Contender("read", bench.repeat((folder / "large").read_bytes)),
        Contender("portable", bench.repeat(lambda: bucket.get("large"))),
        operations=10,
    )


def digest_and_write(folder: Path, *, sync: bool) -> None:
    """What an object with a digest takes at least."""
    hashlib.sha256(LARGE)
    write_plain(folder, "large", LARGE, sync=sync)


def read_by_driver(bucket: Any, key: str) -> bytes:
    """The whole object without the portable layer."""
    reader = bucket.driver.open(key, 0, None, None, TIMEOUT)
    try:
        parts: list[bytes] = []
        while part := reader.read(1 << 20, TIMEOUT):
            parts.append(part)
        return b"".join(parts)
    finally:
        reader.close()


def memory(bench: Bench) -> None:
    """The memory provider."""
    bucket = bench.open("storage", "memory")
    names = counter()
    plain: dict[str, bytes] = {}
    bench.compare(
        "memory: put 4 KiB",
        Contender("dict", bench.repeat(lambda: plain.__setitem__(f"{next(names) % 100}", SMALL))),
        Contender("driver", bench.repeat(lambda: bucket.driver.put(f"{next(names) % 100}", SMALL, PutOptions(), TIMEOUT))),
        Contender("portable", bench.repeat(lambda: bucket.put(f"{next(names) % 100}", SMALL))),
        operations=2_000,
    )
    bucket.put("small", SMALL)
    bench.compare(
        "memory: get 4 KiB",
        Contender("driver", bench.repeat(lambda: read_by_driver(bucket, "small"))),
        Contender("portable", bench.repeat(lambda: bucket.get("small"))),
        operations=2_000,
    )
