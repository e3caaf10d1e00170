"""Whole answers of the protocol as values of ours. The package's models are not built: decoding JSON straight to these costs a tenth."""

from __future__ import annotations

import json
import sys
from array import array
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, cast

from infra.llm.driver import EmbedRequest
from infra.llm.model import Embeddings, Response, Text, ToolCall, Usage
from infra_openai.contents import FAILED, FormError, finish_of, listed, mapping, parts_of, usage_of, word
from infra_openai.failures import AnswerError
from infra_openai.telling import plain_text, tells_failure

METADATA: Final = ("system_fingerprint", "service_tier")
_BOM: Final = "\ufeff"
#: What reading a value of an unexpected form may raise.
MISFITS: Final = (FormError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


def text_of_bytes(data: bytes) -> str:
    """`data` as text, without a byte-order mark.

    Raises:
        AnswerError: It is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AnswerError.malformed("it is not UTF-8") from None


def decoded(data: bytes) -> dict[str, Any]:
    """The JSON object that the body of an answer holds.

    Raises:
        AnswerError: It holds none, breaks off, or tells of a failure.
    """
    text = text_of_bytes(data)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise no_json(text, error) from None
    return answer_in(value)


def in_words(text: str) -> bool:
    """Whether text is no beginning of an answer's JSON: words, such as ``[ERROR] out of memory``, a page, or nothing."""
    begins = text.lstrip()[:2]
    return begins[:1] not in ("{", "[") or (begins[:1] == "[" and begins[1:].isalpha())


def no_json(text: str, error: Exception) -> AnswerError:
    """The error for text that is not JSON: with the server's words, unless they may be those of an answer."""
    if in_words(text):
        shown = plain_text(text)
        return AnswerError.malformed(f"it is not JSON: {shown}" if shown else "it is empty")
    ended = isinstance(error, json.JSONDecodeError) and (error.pos >= len(text.rstrip()) or "Unterminated" in error.msg)
    return AnswerError.cut_off() if ended else AnswerError.malformed("it is not JSON")


def answer_in(value: Any) -> dict[str, Any]:
    """A decoded answer or chunk.

    Raises:
        AnswerError: It is no object, or tells of a failure.
    """
    if isinstance(value, list) and cast("list[Any]", value):
        first: Any = cast("list[Any]", value)[0]
        if isinstance(first, dict) and tells_failure(cast("dict[str, Any]", first)):
            raise AnswerError.told(cast("Any", first))
    if not isinstance(value, dict):
        raise AnswerError.malformed("it is not a JSON object")
    found = cast("dict[str, Any]", value)
    if tells_failure(found):
        raise AnswerError.told(found)
    return found


def response_of(data: bytes, model: str) -> Response:
    """A whole answer; `model` where it names none.

    Raises:
        AnswerError: It cannot be understood, or did not become whole.
    """
    answer = decoded(data)
    try:
        return response_in(answer, model)
    except MISFITS as error:
        raise AnswerError.malformed(f"it lacks the form of a chat completion ({_why(error)})") from None


def response_in(answer: Mapping[str, Any], model: str) -> Response:
    """The response that a decoded answer holds."""
    choice = mapping(listed(answer["choices"], "choices")[0], "a choice")
    raw = word(choice.get("finish_reason"))
    fail_with(choice, raw)
    message = mapping(choice["message"], "the message")
    parts, refused = parts_of(message)
    usage = usage_of(answer.get("usage"))
    return Response(
        content="".join(part.text for part in parts if isinstance(part, Text)),
        parts=tuple(parts),
        finish=finish_of(raw, any(isinstance(part, ToolCall) for part in parts), refused),
        finish_raw=raw,
        usage_stats=usage if usage.raw is not None else usage_of(choice.get("usage")),
        metadata={name: answer[name] for name in METADATA if answer.get(name) is not None},
        id=word(answer.get("id")),
        model=word(answer.get("model")) or model,
    )


def fail_with(choice: Mapping[str, Any], raw: str | None) -> None:
    """Raise what a choice tells of, when it did not become whole."""
    if error := choice.get("error"):
        raise AnswerError.told(error)
    if raw is not None and raw.lower() in FAILED:
        raise AnswerError.told({"message": f"it ended the answer with the reason {raw!r}"})


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, FormError) else f"{type(error).__name__}: {error}"[:100]


def embeddings_of(data: bytes, request: EmbedRequest) -> Embeddings:
    """The vectors, in the order of the texts.

    Raises:
        AnswerError: They cannot be understood.
    """
    answer = decoded(data)
    try:
        entries = answer["data"] if "data" in answer else answer["embeddings"]
        found = [(_place(entry, number), _vector(entry)) for number, entry in enumerate(entries)]
        vectors = tuple(vector for _, vector in sorted(found, key=lambda each: each[0]))
        used = answer.get("usage")
        raw = cast("dict[str, Any]", used) if isinstance(used, dict) and used else None
        usage = Usage(input=usage_of(raw).input or None, raw=raw)
    except MISFITS as error:
        raise AnswerError.malformed(f"it lacks the form of embeddings ({_why(error)})") from None
    return Embeddings(vectors=vectors, model=word(answer.get("model")) or request.model, usage_stats=usage)


def _place(entry: Any, number: int) -> int:
    index = cast("Mapping[str, Any]", entry).get("index") if isinstance(entry, Mapping) else None
    return index if isinstance(index, int) else number


def _vector(entry: Any) -> tuple[float, ...]:
    """A vector given as numbers, or as base64 of little-endian 32-bit floats."""
    value: Any = cast("Mapping[str, Any]", entry)["embedding"] if isinstance(entry, Mapping) else entry
    if isinstance(value, str):
        packed = array("f", b64decode(value, validate=True))
        if sys.byteorder == "big":
            packed.byteswap()
        made = tuple(packed)
    else:
        numbers = cast("list[Any]", value)
        nested = len(numbers) == 1 and isinstance(numbers[0], list)
        made = tuple(map(float, cast("list[Any]", numbers[0]) if nested else numbers))
    if not made:
        raise FormError("a vector is empty")
    return made
