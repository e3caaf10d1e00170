"""Forms of answers that servers were seen to send, with what each stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

ROME: Final = '{"city": "Rome"}'
RAIN: Final = ("weather", {"city": "Rome"})
TIME: Final = ("clock", {})


def whole(message: Mapping[str, Any], finish: Any = "stop", **fields: Any) -> str:
    """The body of a whole answer."""
    return json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}], **fields})


def _content(*contents: Any) -> list[dict[str, Any]]:
    return [{"content": content} for content in contents]


def _text(text: Any, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": text}


_THOUGHT: Final = {"type": "thinking", "thinking": [_text("Hm.")]}

#: A message, the deltas of the same as a stream, and ``(words, thoughts, finish)``.
CONTENTS: Final[list[tuple[dict[str, Any], list[dict[str, Any]], tuple[str, str, str]]]] = [
    ({"content": [_text("Hi "), _text("Ada")]}, _content([_text("Hi ")], [_text("Ada")]), ("Hi Ada", "", "stop")),
    ({"content": ["Hi ", "Ada"]}, _content(["Hi "], ["Ada"]), ("Hi Ada", "", "stop")),
    ({"content": _text("Hi")}, _content(_text("Hi")), ("Hi", "", "stop")),
    ({"content": [_text("Hi", "output_text")]}, _content([_text("Hi", "output_text")]), ("Hi", "", "stop")),
    ({"content": [_text({"value": "Hi"})]}, _content([_text({"value": "Hi"})]), ("Hi", "", "stop")),
    ({"content": [None, _text("Hi"), _text("")]}, _content([], None, [_text("Hi")]), ("Hi", "", "stop")),
    ({"content": [_THOUGHT, _text("Hi")]}, _content([_THOUGHT], [_text("Hi")]), ("Hi", "Hm.", "stop")),
    ({"content": 42}, _content(4, 2), ("42", "", "stop")),
    ({"content": {"n": 3}}, _content({"n": 3}), ('{"n": 3}', "", "stop")),
    *(
        ({name: "Hm.", "content": "Hi"}, [{name: "H"}, {name: "m."}, {"content": "Hi"}], ("Hi", "Hm.", "stop"))
        for name in ("reasoning_content", "reasoning")
    ),
    (
        {"reasoning_content": "Hm.", "reasoning": "Hm.", "content": "Hi"},
        [{"reasoning_content": "Hm.", "reasoning": "Hm."}, {"content": "Hi"}],
        ("Hi", "Hm.", "stop"),
    ),
    ({"reasoning": [_text("Hm.")], "content": "Hi"}, [{"reasoning": {"text": "Hm."}}, {"content": "Hi"}], ("Hi", "Hm.", "stop")),
    ({"reasoning_content": "Hm.", "content": None}, [{"reasoning_content": "Hm.", "content": None}], ("", "Hm.", "stop")),
    (
        {"content": [{"type": "refusal", "refusal": "No."}]},
        _content([{"type": "refusal", "refusal": "No."}]),
        ("No.", "", "content_filter"),
    ),
    ({"content": None, "refusal": "No."}, [{"content": None, "refusal": "N"}, {"refusal": "o."}], ("No.", "", "content_filter")),
    ({"content": "Hi", "refusal": ""}, [{"content": "Hi", "refusal": ""}], ("Hi", "", "stop")),
    ({"content": "Hi", "tool_calls": []}, [{"content": "Hi", "tool_calls": []}], ("Hi", "", "stop")),
    ({"content": "Hi", "tool_calls": None, "function_call": None}, [{"content": "Hi", "function_call": None}], ("Hi", "", "stop")),
    ({"content": ""}, _content(""), ("", "", "stop")),
]

#: A message, whole or as one delta, and the calls that it asks for.
CALLS: Final[list[tuple[dict[str, Any], list[tuple[str, Any]]]]] = [
    ({"tool_calls": [{"id": "a", "function": {"name": "weather", "arguments": {"city": "Rome"}}}]}, [RAIN]),
    ({"tool_calls": [{"function": {"name": "weather", "arguments": ROME}}]}, [RAIN]),
    ({"tool_calls": [{"id": None, "index": None, "function": {"name": "weather", "arguments": ROME}}]}, [RAIN]),
    ({"tool_calls": [{"id": "", "type": None, "function": {"name": "weather", "arguments": ROME}}]}, [RAIN]),
    ({"tool_calls": [{"id": 7, "function": {"name": "weather", "arguments": ROME}}]}, [RAIN]),
    ({"tool_calls": [{"id": "a", "name": "weather", "arguments": {"city": "Rome"}}]}, [RAIN]),
    ({"tool_calls": {"id": "a", "function": {"name": "weather", "arguments": ROME}}}, [RAIN]),
    ({"tool_calls": [{"id": "a", "function": {"name": "clock"}}]}, [TIME]),
    *(({"tool_calls": [{"id": "a", "function": {"name": "clock", "arguments": none}}]}, [TIME]) for none in (None, "", {}, "{}")),
    ({"function_call": {"name": "weather", "arguments": ROME}}, [RAIN]),
    ({"function_call": {"name": "weather", "arguments": {"city": "Rome"}}, "content": None}, [RAIN]),
    (
        {
            "tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "weather", "arguments": ROME}},
                {"index": 1, "id": "a", "function": {"name": "clock"}},
            ]
        },
        [RAIN, TIME],
    ),
    (
        {"tool_calls": [{"function": {"name": "weather", "arguments": ROME}}, {"function": {"name": "clock", "arguments": "{}"}}]},
        [RAIN, TIME],
    ),
]


def _piece(index: Any = None, name: Any = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**({} if index is None else {"index": index}), **fields, "function": function}


#: The pieces of calls, one in each chunk, and the calls that they are.
PIECES: Final[list[tuple[list[dict[str, Any]], list[tuple[str, Any]]]]] = [
    ([_piece(0, id="a"), _piece(0, "weather"), _piece(0, None, ROME)], [RAIN]),
    ([_piece(0, None, '{"city": ', id="a"), _piece(0, "weather", '"Rome"}')], [RAIN]),
    ([_piece(0, "weather", '{"city": ', id="a"), _piece(0, "weather", '"Rome"}')], [RAIN]),
    ([_piece(0, "weather", '{"city": ', id="a"), _piece(0, "weather", '"Rome"}', id="a")], [RAIN]),
    ([_piece(0, "weather", '{"city": ', id="a"), _piece(0, "", '"Rome"}', id="")], [RAIN]),
    ([_piece(0, "wea", id="a"), _piece(0, "ther"), _piece(0, None, ROME)], [RAIN]),
    ([_piece(None, "weather", '{"city": ', id="a"), _piece(None, None, '"Rome"}')], [RAIN]),
    ([_piece("0", "weather", '{"city": ', id="a"), _piece("0", None, '"Rome"}')], [RAIN]),
    ([_piece(3, "weather", '{"city": ', id="a"), _piece(3, None, '"Rome"}')], [RAIN]),
    ([_piece(0, "weather", {"city": "Rome"}, id="a")], [RAIN]),
    ([_piece(0, "clock", id="a"), _piece(0, None, {})], [TIME]),
    ([_piece(0, "clock", id="a")], [TIME]),
    ([_piece(0, "weather", ROME, id="a"), _piece(0, "clock", "{}", id="b")], [RAIN, TIME]),
    ([_piece(0, "weather", ROME), _piece(0, "clock", "{}")], [RAIN, TIME]),
    ([_piece(None, "weather", ROME), _piece(None, "clock", "{}")], [RAIN, TIME]),
    ([_piece(0, "weather", ROME), _piece(1, "clock", "{}")], [RAIN, TIME]),
    ([_piece(1, "weather", '{"city": '), _piece(2, "clock"), _piece(1, None, '"Rome"}')], [RAIN, TIME]),
    ([_piece(0, "weather", ROME, id="a"), _piece(0, "weather", ROME, id="b")], [RAIN, RAIN]),
]

#: Counts, and ``(input, output, cached input, reasoning)``.
USAGES: Final[list[tuple[Any, tuple[Any, ...]]]] = [
    ({"prompt_tokens": 11, "completion_tokens": 7}, (11, 7, None, None)),
    ({"input_tokens": 11, "output_tokens": 7}, (11, 7, None, None)),
    ({"prompt_tokens": "11", "completion_tokens": 7.0}, (11, 7, None, None)),
    ({"prompt_tokens": 11, "completion_tokens": None}, (11, None, None, None)),
    ({"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": None}, (11, 7, None, None)),
    ({"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": []}, (11, 7, None, None)),
    ({"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}, (11, 7, 4, None)),
    ({"prompt_tokens": 11, "completion_tokens": 7, "prompt_cache_hit_tokens": 4}, (11, 7, 4, None)),
    ({"prompt_tokens": 11, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 5}}, (11, 7, None, 5)),
    ({"prompt_tokens": 11, "completion_tokens": -7}, (11, None, None, None)),
    ({"prompt_tokens": 11, "completion_tokens": True}, (11, None, None, None)),
    *((none, (None, None, None, None)) for none in (None, [], "", "many", 7, {"prompt_tokens": "many"}, {"prompt_tokens": {}})),
    ({"prompt_tokens": 10**400, "completion_tokens": 7}, (None, 7, None, None)),
]

#: The server's word for the end of an answer, and ours; None where the answer did not become whole.
ENDINGS: Final[list[tuple[Any, str | None]]] = [
    ("stop", "stop"),
    ("STOP", "stop"),
    ("eos", "stop"),
    ("end_turn", "stop"),
    ("length", "length"),
    ("max_tokens", "length"),
    ("MAX_TOKENS", "length"),
    ("content_filter", "content_filter"),
    ("SAFETY", "content_filter"),
    ("", "other"),
    (None, "other"),
    ("whatever", "other"),
    ("error", None),
    ("aborted", None),
]

_SAID: Final = "it says so in so many words"
#: What tells of a failure under status 200, and of which kind: a rate limit, a model that is not there, a server that is down, or any.
FAILURES: Final[list[tuple[Any, str]]] = [
    ({"error": {"message": _SAID, "type": "server_error", "code": None}}, "down"),
    ({"error": {"message": _SAID, "code": 429}}, "limit"),
    ({"error": {"message": _SAID, "code": "429"}}, "limit"),
    ({"error": {"message": _SAID, "code": "model_not_found"}}, "model"),
    ({"error": {"code": 429, "message": _SAID, "status": "RESOURCE_EXHAUSTED"}}, "limit"),
    ([{"error": {"code": 503, "message": _SAID, "status": "UNAVAILABLE"}}], "down"),
    ({"error": _SAID}, ""),
    ({"error": [_SAID]}, ""),
    ({"error": {"error": {"message": _SAID, "code": 429}}}, "limit"),
    ({"error": {"message": _SAID}, "choices": []}, ""),
    ({"error": {"message": _SAID, "metadata": {"raw": '{"error": {"message": "busy"}}'}}}, ""),
    ({"object": "error", "message": _SAID, "type": "NotFoundError", "code": 404}, "model"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": _SAID}}, "down"),
    ({"detail": _SAID}, ""),
    ({"detail": [{"loc": ["body", "x"], "msg": _SAID}]}, ""),
    ({"errors": [{"message": _SAID}]}, ""),
    ({"message": _SAID, "code": "InvalidParameter"}, ""),
    ({"error_msg": _SAID, "error_code": 18}, ""),
    ({"base_resp": {"status_code": 1002, "status_msg": _SAID}, "choices": None}, ""),
    ({"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "error", "error": {"message": _SAID, "code": 502}}]}, "down"),
    (f"<html><head><title>{_SAID}</title></head></html>", ""),
    (f"upstream: {_SAID}", ""),
    (f"[ERROR] {_SAID}", ""),
]

_HI: Final = b'{"choices": [{"delta": {"content": "Hi "}}]}'
_ADA: Final = b'{"choices": [{"delta": {"content": "Ada"}}]}'
_STOP: Final = b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}'
_LINES: Final = b"data: " + _HI + b"\n\ndata: " + _ADA + b"\n\ndata: " + _STOP + b"\n\ndata: [DONE]\n\n"

#: Packets that all say "Hi Ada".
FRAMINGS: Final[list[list[bytes | None]]] = [
    [_LINES],
    [b"\xef\xbb\xbf" + _LINES],
    [_LINES.replace(b"\n", b"\r\n")],
    [_LINES.replace(b"\n", b"\r")],
    [b"\xef\xbb\xbf" + _LINES.replace(b"\n", b"\r")],
    [_LINES.replace(b"data: ", b"data:")],
    [_LINES.replace(b"data: ", b"data:  ")],
    [_LINES.replace(b"\n\n", b"\n")],
    [_LINES.replace(b"data: ", b": ping\n\ndata: ")],
    [_LINES.replace(b"data: ", b"event: ping\ndata:\n\nevent: message\ndata: ")],
    [_LINES.replace(b"data: ", b"id: 7\nretry: 100\nevent: message\ndata: ")],
    [_LINES.replace(b"data: ", b"data\n\n\n\ndata: ")],
    [_LINES.replace(b', "finish', b',\ndata: "finish')],
    [_LINES.replace(b"data: [DONE]\n\n", b"")],
    [_LINES.replace(b"data: [DONE]\n\n", b""), None],
    [_LINES.replace(b"[DONE]\n\n", b"[DONE]")],
    [_LINES.replace(b"[DONE]", b"[done]")],
    [_LINES.replace(b"[DONE]", b'"[DONE]"')],
    [_LINES.replace(b"data: " + _STOP + b"\n\n", b"")],
    [b"data: " + _HI + _ADA + _STOP + b"\n\n"],
    [b"data: " + _HI + b"\ndata: " + _ADA + b" " + _STOP + b"[DONE]\n\n"],
    [_HI + b"\n" + _ADA + b"\n" + _STOP + b"\n"],
    [_LINES + b"data: what follows is nobody's\n\n"],
    [_LINES, b"data: what follows is nobody's\n\n"],
    [whole({"content": "Hi Ada"}).encode()],
    [b"\xef\xbb\xbf" + whole({"content": "Hi Ada"}).encode()],
    [b"\n\n" + json.dumps(json.loads(whole({"content": "Hi Ada"})), indent=1).encode()],
    [b"data: " + whole({"content": "Hi Ada"}).encode() + b"\n\n"],
]

#: Answers that hold ``{"n": 3}``.
PROSE: Final = [
    '{"n": 3}',
    '\ufeff{"n": 3}',
    'Here it is: {"n": 3}. Anything else?',
    '```json\n{"n": 3}\n```',
    'Sure!\n```\n{"n": 3}\n```\nDone {as asked}.',
    '<think>{"n": 9}?</think>\n{"n": 3}',
    'Hm, {"n": 9}?</think>{"n": 3}',
    '{"n": 3,}',
    '{"n": 3} or, again, {"n": 3}',
]

#: Answers to a request for two vectors, and the vectors; None for what are none.
VECTORS: Final[list[tuple[Any, Any]]] = [
    ({"data": [{"embedding": [1, 2]}, {"embedding": [3, 4]}]}, [(1.0, 2.0), (3.0, 4.0)]),
    ({"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}]}, [(1.0, 2.0), (3.0, 4.0)]),
    ({"data": [{"embedding": [[1, 2]]}, {"embedding": [[3, 4]]}], "usage": None}, [(1.0, 2.0), (3.0, 4.0)]),
    ({"embeddings": [[1, 2], [3, 4]]}, [(1.0, 2.0), (3.0, 4.0)]),
    ({"data": [{"embedding": "AACAPwAAAEA="}, {"embedding": "AABAQAAAgEA="}]}, [(1.0, 2.0), (3.0, 4.0)]),
    ({"data": [{"embedding": [1, 2]}, {"embedding": [3, 4]}], "usage": {"prompt_tokens": 10**400}}, [(1.0, 2.0), (3.0, 4.0)]),
    *(
        (none, None)
        for none in (
            {"data": []},
            {"data": [{"embedding": [1, 2]}]},
            {"data": None},
            {"data": [{"embedding": []}, {"embedding": []}]},
            {"data": [{"embedding": [1, "x"]}, {"embedding": [3, 4]}]},
            {"data": [{"embedding": "AACAPw="}, {"embedding": "!"}]},
            {"data": [1, 2]},
            {"data": [{}, {}]},
            {},
            [],
        )
    ),
]
