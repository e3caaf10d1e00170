"""What a server turns out not to take, learned from its refusal: the request is then put in other words, once for each."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

_STATUSES: Final = frozenset({400, 404, 415, 422, 500, 501})  # some servers answer 500 to what they do not know
_UNKNOWN: Final = re.compile(
    r"un(supported|known|recogni[sz]ed|expected)|not (supported|permitted|allowed|implemented)|extra_?\s?(inputs|fields|forbidden)"
    r"|only .*support|does(n't| not) support|invalid|additional properties|use '",
    re.IGNORECASE,
)
_LIMITS: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class Adapting:
    """Remembers what one server does not take.

    Args:
        limit: By which name it takes the token limit.
        stream_usage: Whether to ask for the usage at the end of a stream.
        encoding: How vectors are asked for; None to begin with base64 and learn.
    """

    def __init__(self, limit: str, stream_usage: bool, encoding: Literal["base64", "float"] | None) -> None:
        self.limit = limit
        self.stream_usage = stream_usage
        self.encoding = encoding or "base64"
        self._learns_encoding = encoding is None

    def again(self, body: dict[str, Any], status: int, told: str) -> tuple[dict[str, Any], str] | None:
        """`body` without the field that a refusal names as not supported, and that field's name; None when it names none."""
        if status not in _STATUSES or not _UNKNOWN.search(told):
            return None
        if "stream_options" in body and "stream_options" in told:
            return {name: value for name, value in body.items() if name != "stream_options"}, "stream_options"
        if self._learns_encoding and body.get("encoding_format") == "base64" and ("base64" in told or "encoding_format" in told):
            return {**body, "encoding_format": "float"}, "encoding_format"
        for name, other in _LIMITS.items():
            if name in body and re.search(rf"\b{name}\b", told) and other not in body:
                return {**{key: value for key, value in body.items() if key != name}, other: body[name]}, name
        return None

    def learn(self, refused: list[str]) -> None:
        """Ask without these from now on: without them the server answered."""
        for name in refused:
            if name == "stream_options":
                self.stream_usage = False
            elif name == "encoding_format":
                self.encoding = "float"
            else:
                self.limit = _LIMITS[name]
