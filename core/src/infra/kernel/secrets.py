"""Secrets: values or references that are re-read when they change, and the redactor that knows every live one."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

MASK: Final = "********"
_SHORTEST_MASKED = 4  # masking shorter values would make every text unreadable
#: Words that messages are made of. As a secret they are masked only where one stands: in a URL, or after its field's name.
_WORDS: Final = frozenset(
    """
    admin cache changeme database default development guest host infra letmein llm local localhost main mariadb memory minio minioadmin
    mysql name offline openai owner pass password port postgres postgresql production public queue rabbitmq redis root secret server sqlite
    staging storage test token user username
    """.split()  # noqa: SIM905
)
_PLACES: Final = r"(?P<before>://[^/@\s:]*:|(?:pass(?:word|wd)?|pwd|secret|token|api_key)[\"']?\s*[=:]\s*[\"']?)(?:{})(?![\w-])"

#: ``resolve(reference) -> value or None``, asked for references that are neither ``env:`` nor ``file:``.
Resolver = Callable[[str], str | None]


class SecretUnavailableError(LookupError):
    """A reference whose target does not exist; the message holds the reference, never a value."""


class Redactor:
    """Replaces the values of all secrets that one kernel has revealed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: set[str] = set()
        self._words: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._placed: re.Pattern[str] | None = None

    def learn(self, value: str) -> None:
        """Mask `value`, as it is and as it stands in URLs, from now on."""
        if not value or value in self._values or value in self._words:
            return
        with self._lock:
            if len(value) < _SHORTEST_MASKED or value.lower() in _WORDS:
                self._words |= {value, quote(value, safe="")}
                longest_first = sorted(self._words, key=len, reverse=True)
                self._placed = re.compile(_PLACES.format("|".join(map(re.escape, longest_first))), re.IGNORECASE)
                return
            self._values |= {value, quote(value, safe=""), repr(value)[1:-1]}
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        """`text` without any known secret."""
        if self._placed is not None:
            text = self._placed.sub(lambda found: found["before"] + MASK, text)
        return text if self._pattern is None else self._pattern.sub(MASK, text)


class Secret:
    """A value that is never printed, or a reference to where it is kept.

    ``env:NAME`` and ``file:path`` are references, and so is any ``scheme:rest`` that a plugin's ``infra_resolve_secret`` knows;
    ``literal:...`` is the way to write a value that looks like one. `reveal` reads a reference again whenever its target changed, so a
    rotated key is used without a restart.

    Args:
        source: The value or the reference.
    """

    __slots__ = ("_known", "_redactor", "_resolver", "_source", "_stamp")

    def __init__(self, source: str) -> None:
        self._source = source
        self._resolver: Resolver | None = None
        self._redactor: Redactor | None = None
        self._known: str | None = None
        self._stamp: object = None

    def bind(self, resolver: Resolver | None, redactor: Redactor | None) -> None:
        """Attach the kernel's plugins and redactor; the kernel does this when it validates settings."""
        self._resolver, self._redactor = resolver, redactor
        if redactor is not None and self.reference is None:
            redactor.learn(self.reveal())

    @property
    def reference(self) -> str | None:
        """The reference, which may be shown; None for a plain value."""
        scheme, colon, _ = self._source.partition(":")
        if colon and (scheme in ("env", "file") or (self._resolver is not None and self._resolves(scheme))):
            return self._source
        return None

    def reveal(self) -> str:
        """The value, as its source has it now.

        Raises:
            SecretUnavailableError: The reference's target does not exist.
        """
        scheme, colon, rest = self._source.partition(":")
        if not colon:
            value = self._source
        elif scheme == "literal":
            value = rest
        elif scheme == "env":
            found = os.environ.get(rest)
            if found is None:
                raise SecretUnavailableError(f"the environment has no {rest}")
            value = found
        elif scheme == "file":
            value = self._read(rest)
        else:
            found = self._resolver(self._source) if self._resolver is not None else None
            value = self._source if found is None else found
        if self._redactor is not None and value is not self._known:
            self._redactor.learn(value)
            self._known = value
        return value

    def _read(self, path: str) -> str:
        try:
            status = os.stat(path)  # noqa: PTH116  (on the path of each reveal: no Path object)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._known is None or stamp != self._stamp:
                value = Path(path).read_text().rstrip("\r\n")
                self._stamp = stamp
                return value
        except OSError as error:
            raise SecretUnavailableError(f"cannot read {path}: {error.strerror}") from None
        return self._known

    def _resolves(self, scheme: str) -> bool:
        return (
            re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) is not None
            and self._resolver is not None
            and self._resolver(self._source) is not None
        )

    def __bool__(self) -> bool:
        return bool(self._source)

    def __eq__(self, other: object) -> bool:
        return self._source == other._source if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(("Secret", self._source))

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret cannot be pickled: it would leave the process in plain text")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        def parse(value: object) -> Secret:
            if isinstance(value, Secret):
                return value
            if isinstance(value, str):
                return cls(value)
            raise ValueError("should be text")

        return core_schema.no_info_plain_validator_function(parse, serialization=core_schema.plain_serializer_function_ser_schema(str))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "password", "writeOnly": True}
