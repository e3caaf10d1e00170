"""The key under which an answer is kept: a digest of everything that changes it.

Chosen by deny-list: whatever an option gains later is in the key unless it is named here. An allow-list forgets (litellm's gives one key
for different endpoints).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from infra.llm.driver import DriverInfo, LLMRequest
from infra.llm.encoding import message_to_json
from infra.llm.model import OPTION_NAMES, Tool

#: Changes when the key's contents or the stored envelope change their meaning.
KEY_VERSION: Final = 1

#: Options that do not change the answer. ``model`` and ``output`` are in the key in their resolved form.
UNKEYED: Final = frozenset({"timeout", "cache", "sensitive", "strict", "metadata"})
_RESOLVED: Final = frozenset({"model", "output"})
_KEYED: Final = tuple(name for name in OPTION_NAMES if name not in UNKEYED | _RESOLVED)


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Where an answer is kept.

    Args:
        key: ``llm:{model}:{first 32 hexadecimal digits of the digest}``.
        digest: The whole SHA-256, kept with the answer and compared on reading.
    """

    key: str
    digest: str


def cache_key(request: LLMRequest, info: DriverInfo) -> CacheKey:
    """The key of the answer to `request` from the endpoint of `info`; the same in every process, whatever the order of mappings."""
    options = request.options
    said: dict[str, Any] = {name: value for name in _KEYED if (value := getattr(options, name)) is not None}
    output = request.output
    content = {
        "version": KEY_VERSION,
        "provider": info.provider,
        "identity": info.identity,
        "model": request.model,
        "messages": [message_to_json(message, _digest) for message in request.messages],
        "options": said,
        "output": None if output is None else [output.name, output.mode, output.schema],
        "variables": request.variables,
    }
    digest = hashlib.sha256(_encode(content).encode("utf-8", "surrogatepass")).hexdigest()
    return CacheKey(f"llm:{request.model}:{digest[:32]}", digest)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _plain(value: Any) -> Any:
    """What JSON does not know: tools, mappings and sequences of other types, pydantic models."""
    if isinstance(value, Tool):
        return {"name": value.name, "description": value.description, "parameters": value.parameters}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)


_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain).encode
