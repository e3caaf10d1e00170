"""Digests, computed where they do not hold up the event loop."""

from __future__ import annotations

import hashlib
from typing import Final

from infra.runtime.aio import call
from infra.runtime.bridge import ThreadBridge

#: More bytes than this are hashed in a thread, where there is an event loop to keep free.
HASHED_INLINE: Final = 1 << 16


async def sha256(data: bytes, bridge: ThreadBridge | None) -> str:
    """The digest of `data` in hexadecimal."""
    if len(data) <= HASHED_INLINE:
        return hashlib.sha256(data).hexdigest()
    return (await call(hashlib.sha256, data, bridge=bridge)).hexdigest()
