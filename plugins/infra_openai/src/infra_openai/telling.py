"""What a server says of a failure, in whatever form it says it: OpenAI's, FastAPI's, Ollama's, Google's, a gateway's page."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

_WORDS: Final = (
    "message",
    "detail",
    "error",
    "error_message",
    "error_msg",
    "errorMessage",
    "msg",
    "status_msg",
    "errors",
    "title",
    "reason",
)
_DEPTH: Final = 6  # of objects within objects; further down nothing is said
_LONGEST: Final = 300
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_FINE: Final = ("", "0", "200", "none", "ok", "success")

#: The HTTP status that a word stands for, where an answer of status 200 tells of a failure by a word.
_STATUS: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "bad_request": 400,
    "badrequesterror": 400,
    "invalid_argument": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "content_policy_violation": 400,
    "authentication_error": 401,
    "authenticationerror": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "model_not_found": 404,
    "not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "ratelimiterror": 429,
    "resource_exhausted": 429,
    "insufficient_quota": 429,
    "billing_hard_limit_reached": 429,
    "internalservererror": 500,
    "internal_server_error": 500,
    "server_error": 500,
    "internal": 500,
    "overloaded_error": 503,
    "unavailable": 503,
    "deadline_exceeded": 504,
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a server told.

    Args:
        text: Its own words, on one line; empty when it said nothing.
        status: The HTTP status that it stands for; None when that is not known.
        code: The server's code.
        type: The server's type.
    """

    text: str = ""
    status: int | None = None
    code: str | None = None
    type: str | None = None


def told_by(value: Any) -> Told:
    """What a decoded body tells; an object with ``error`` within tells what that tells."""
    for _ in range(_DEPTH):
        if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
            value = cast("list[Any]", value)[0]
        elif isinstance(value, Mapping) and isinstance(inner := cast("Mapping[str, Any]", value).get("error"), Mapping | list) and inner:
            value = cast("Any", inner)
        elif isinstance(value, Mapping) and isinstance(choices := cast("Mapping[str, Any]", value).get("choices"), list) and choices:
            value = cast("list[Any]", choices)[0]
        else:
            break
    text = _shortened(words_of(value))
    if not isinstance(value, Mapping):
        return Told(text)
    said = cast("Mapping[str, Any]", value)
    code, kind = _word(said.get("code")), _word(said.get("type"))
    found = next((number for name in ("code", "status", "status_code", "http_status") if (number := _number(said.get(name)))), None)
    if found is None:
        words = (code, kind, _word(said.get("status")))
        found = next((_STATUS[word.lower()] for word in words if word is not None and word.lower() in _STATUS), None)
    return Told(text or code or kind or "", found, code, kind)


def told_in(data: bytes) -> Told:
    """What the body of a refused request tells: JSON, a page or plain text."""
    text = data.decode("utf-8", "replace").lstrip("\ufeff")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Told(plain_text(text))
    return told_by(value)


def plain_text(text: str) -> str:
    """The words of a page or of plain text, on one short line."""
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text)
        text = html.unescape(title[1] if title and title[1].strip() else _TAG.sub(" ", text[:20_000]))
    return _shortened(text)


def tells_failure(answer: Mapping[str, Any]) -> bool:
    """Whether an object under status 200 tells of a failure instead of being an answer."""
    error = answer.get("error")
    if error and not (isinstance(error, Mapping) and _fine(cast("Mapping[str, Any]", error)) and answer.get("choices")):
        return True
    if answer.get("object") == "error" or answer.get("type") == "error":
        return True
    if answer.get("choices") or "data" in answer or "embeddings" in answer:
        return False
    if isinstance(base := answer.get("base_resp"), Mapping):
        return not _fine({"code": cast("Mapping[str, Any]", base).get("status_code")})
    return any(isinstance(answer.get(name), str) and answer[name] for name in _WORDS) or bool(answer.get("detail") or answer.get("errors"))


def words_of(value: Any, depth: int = _DEPTH) -> str:
    """The words in a value: the first of the usual names that holds any, however deep."""
    if isinstance(value, str):
        return value
    if depth <= 0:
        return ""
    if isinstance(value, list):
        items = cast("list[Any]", value)[:5]
        return "; ".join(found for item in items if (found := words_of(item, depth - 1)))
    if not isinstance(value, Mapping):
        return ""
    said = cast("Mapping[str, Any]", value)
    found = next((found for name in (*_WORDS, "base_resp") if name in said and (found := words_of(said[name], depth - 1))), "")
    place = said.get("loc")
    if found and isinstance(place, list) and place:  # FastAPI's list of what does not fit
        return f"{'.'.join(map(str, cast('list[Any]', place)))}: {found}"
    detail = said.get("metadata")
    if found and isinstance(detail, Mapping) and isinstance(raw := cast("Mapping[str, Any]", detail).get("raw"), str) and raw:
        return f"{found}: {told_in(raw.encode('utf-8', 'replace')).text or raw}"  # what a router was told by the server behind it
    return found


def _fine(error: Mapping[str, Any]) -> bool:
    return all(str(error.get(name) if error.get(name) is not None else "").lower() in _FINE for name in ("code", "message", "type"))


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() and 400 <= int(text) < 600 else None


def _word(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _shortened(text: str) -> str:
    return " ".join(text[: 20 * _LONGEST].split())[:_LONGEST]
