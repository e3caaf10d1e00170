"""How entries and keys look in the store.

An entry is the bytes of `infra.cache.codecs`, or, when it carries a time or tags, ``e``, a line of JSON, and then those bytes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from infra.cache.codecs import UndecodableError, dump_json, load_json
from infra.cache.errors import CacheValueError

#: The first byte of an envelope.
ENVELOPE: Final = b"e"
_LONGEST: Final = 140  # leaves room for prefix and generation within the 240 characters of a driver's key


class Entry(NamedTuple):
    """An entry as it was read. A tuple, since each hit of `get_or_set` makes one.

    Args:
        payload: The encoded value.
        fresh_until: Seconds on the store's clock from which the value is stale; None when it never is.
        cost: Seconds that its computation took, for XFetch.
        tags: The version that each tag had when the value was written.
        stale: Seconds that it may be served after `fresh_until`; 0 when the store's own TTL ends it then, None when nobody said.
    """

    payload: bytes
    fresh_until: float | None = None
    cost: float = 0.0
    tags: Mapping[str, str] = MappingProxyType({})
    stale: float | None = None

    def pack(self) -> bytes:
        """The bytes to store."""
        if self.fresh_until is None and not self.tags:
            return self.payload
        header: dict[str, object] = {}
        if self.fresh_until is not None:
            header = {"f": round(self.fresh_until, 3), "c": round(self.cost, 6)}
            if self.stale is not None:
                header["s"] = self.stale
        if self.tags:
            header["t"] = dict(self.tags)
        return b"e%b\n%b" % (dump_json(header), self.payload)


def unpack(raw: bytes) -> Entry:
    """The entry in stored bytes; `UndecodableError` when they are damaged."""
    if raw[:1] != ENVELOPE:
        return Entry(raw)
    try:
        end = raw.index(b"\n")
        header = cast("dict[str, Any]", load_json(raw[1:end]))
        until, stale, tags = header.get("f"), header.get("s"), cast("dict[str, str]", header.get("t") or {})
        return Entry(
            raw[end + 1 :],
            None if until is None else float(until),
            float(header.get("c", 0.0)),
            dict(tags),
            None if stale is None else float(stale),
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UndecodableError("a damaged envelope") from error


def new_version() -> str:
    """A random id of 16 characters. A counter that is lost and starts again would revive old entries; this cannot."""
    return secrets.token_hex(8)


def version_name(version: bytes) -> str:
    """A stored id as a part of keys; any bytes will do, so that a damaged id is only another id."""
    if len(version) == 16 and version.isalnum():
        return version.decode("ascii")
    return hashlib.blake2b(version, digest_size=8).hexdigest()


def safe(key: str) -> str:
    """`key` as a part of a driver's key: as it is where that is possible, else its hash, marked so that no plain key equals it."""
    if type(key) is not str and not isinstance(key, str):
        raise CacheValueError(f"a key or name is a text, not of type {type(key).__name__}", remedy="make a text of it")
    if len(key) <= _LONGEST and key.isascii() and key.isprintable() and " " not in key and key[:1] not in ("~", ""):
        return key
    return _hash(key)


def safe_all(keys: Sequence[str]) -> Sequence[str]:
    """`safe` for many keys. Those of ordinary form are checked all at once: one by one it took a third of a read of a hundred."""
    try:
        joined = "".join(keys)
    except TypeError:  # not all are texts
        return [safe(key) for key in keys]
    if joined.isascii() and joined.isprintable() and " " not in joined and "~" not in joined:
        lengths = list(map(len, keys))
        if not keys or (min(lengths) > 0 and max(lengths) <= _LONGEST):
            return keys
    return [safe(key) for key in keys]


def safe_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """`safe` for each of an entry's tags; a lone text is refused, as its letters would be the tags."""
    if isinstance(tags, str):
        raise CacheValueError("tags is a text, not a sequence of texts", remedy=f"write tags=[{tags!r}]")
    return tuple(map(safe, distinct(tags, "tags")))


def distinct(keys: Iterable[str], what: str = "keys") -> list[str]:
    """`keys` in their order, each once; a lone text is refused, as its letters would be the keys."""
    if isinstance(keys, str | bytes):
        raise CacheValueError(f"{what} is a text, not several", remedy=f"write [{keys!r}]")
    try:
        return list(dict.fromkeys(keys))
    except TypeError as error:
        raise CacheValueError(f"{what} are not texts: {error}", remedy="give an iterable of texts") from error


def safe_part(name: str) -> str:
    """`safe` for a name that others follow: without the separators ``/`` and ``:``."""
    return safe(name) if not isinstance(name, str) or ("/" not in name and ":" not in name) else _hash(name)


def _hash(key: str) -> str:
    if not key:
        raise CacheValueError("a key or name cannot be empty", remedy="give it a name")
    return "~" + hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
