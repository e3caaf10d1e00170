"""Scripts that the server runs in one step, in Lua. A script's time stands still while it runs."""

from __future__ import annotations

import hashlib


class Script:
    """A Lua script, called by the digest of its source.

    Attributes:
        source: The source, for a server that does not know it yet.
        digest: Its name on the server (EVALSHA).
    """

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source.strip()
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
