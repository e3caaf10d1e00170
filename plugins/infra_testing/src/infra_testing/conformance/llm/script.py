"""The conversation that a provider under test must be able to hold.

Each entry says what the model, or the server that plays it, answers to a user message that matches a regular expression. The offline
provider takes the list as its setting ``script``; a provider with a server turns it into that server's fixtures.
"""

from __future__ import annotations

from typing import Any, Final

LONG: Final = " ".join(f"Sentence number {number} of a long answer." for number in range(1, 41))
UNICODE: Final = 'Zürich 東京 🚀 \\ "quoted" \u2028'

SCRIPT: Final[list[dict[str, Any]]] = [
    {"match": r"say hello", "reply": "Hello there."},
    {"match": r"tell a long story", "reply": LONG},
    {"match": r"repeat the same word", "reply": "same " * 400},
    {"match": r"count to five", "reply": "one two three four five"},
    {"match": r"who are you", "system": r"pirate", "reply": "A pirate."},
    {"match": r"think first", "reply": "Done.", "reasoning": "Let me see."},
    {"match": r"be refused", "reply": "I cannot help with that.", "finish": "content_filter"},
    {"match": r"weather in Paris", "tool_calls": [{"name": "weather", "arguments": {"city": "Paris"}}]},
    {"match": r"weather in Paris", "reply": "It is {{ tool_result }} in Paris."},
    {"match": r"the time", "tool_calls": [{"name": "clock"}]},
    {"match": r"the time", "reply": "It is {{ tool_result }}."},
    {
        "match": r"weather in two cities",
        "tool_calls": [{"name": "weather", "arguments": {"city": "Rome"}}, {"name": "weather", "arguments": {"city": "Oslo"}}],
    },
    {"match": r"weather in two cities", "reply": "{{ tool_result }}"},
    {"match": r"weather in unicode", "tool_calls": [{"name": "weather", "arguments": {"city": UNICODE}}]},
    {"match": r"weather in unicode", "reply": "{{ tool_result }}"},
    {"match": r"use the broken tool", "tool_calls": [{"name": "broken"}]},
    {"match": r"use the broken tool", "reply": "It failed: {{ tool_result }}"},
    {"match": r"an order for Ada", "reply": '{"id": 7, "customer": {"name": "Ada", "city": null}, "items": ["pen", "ink"]}'},
    {"match": r"does not fit the schema: .*Invalid JSON", "reply": "Hello again."},
    {"match": r"does not fit the schema", "reply": '{"id": 8, "customer": {"name": "Bob"}, "items": []}'},
    {"match": r"a wrong order, mended", "reply": '{"id": "many"}'},
    {"match": r"slow answer", "reply": "At last.", "delay": 3.0},
    {"match": r"stall in the middle", "reply": LONG, "delay": 3.0, "delay_after": 3},
    {"match": r"break off", "reply": LONG, "break_after": 5},
    {"match": r"fail always", "status": 503},
    {"match": r"fail once", "status": 503, "times": 1},
    {"match": r"fail once", "reply": "Recovered."},
    {"match": r"limit once", "status": 429, "retry_after": 0.05, "times": 1},
    {"match": r"limit once", "reply": "Within the limit."},
    {"match": r"limit for an hour", "status": 429, "retry_after": 3600.0},
    *({"match": rf"status {status}\b", "status": status} for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503)),
    {"match": r"quota is gone", "status": 429, "code": "insufficient_quota"},
    {"match": r"context is full", "status": 400, "code": "context_length_exceeded"},
    {"match": r"filtered prompt", "status": 400, "code": "content_filter"},
]
