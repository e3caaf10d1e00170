"""Strict, logic-free templates: ``{{ name }}`` stands for the value of that name, and nothing else has a meaning.

A value is put in as it is and never looked at again, so a value that holds ``{{ other }}`` reveals nothing. ``{{{{`` stands for ``{{``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from infra.errors import nearest
from infra.llm.errors import InvalidRequestError

_TOKEN = re.compile(r"\{\{\{\{|\{\{\s*([A-Za-z_]\w*)\s*\}\}|\{\{")


def variables_of(template: str) -> tuple[str, ...]:
    """The names that a template needs, in order, each once.

    Raises:
        InvalidRequestError: It opens ``{{`` without a name and ``}}``.
    """
    found: dict[str, None] = {}
    for match in _TOKEN.finditer(template):
        if (name := match[1]) is not None:
            found[name] = None
        elif match[0] == "{{":
            line = template.count("\n", 0, match.start()) + 1
            raise InvalidRequestError(
                f"line {line} of the template has {{{{ without a name and }}}}", remedy="write {{ name }}, or {{{{ for {{"
            )
    return tuple(found)


def render(template: str, variables: Mapping[str, Any]) -> str:
    """The template with its values.

    Raises:
        InvalidRequestError: A value is missing or None.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return "{{" if name is None else shown(name, variables)

    return _TOKEN.sub(value, template)


def shown(name: str, variables: Mapping[str, Any]) -> str:
    """One value as text: text as it is, anything else as JSON.

    Raises:
        InvalidRequestError: It is missing, None, or cannot be written as JSON.
    """
    value = variables.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        like = nearest(name, set(variables))
        hint = f" (did you mean {like}?)" if like and name not in variables else ""
        state = "is None" if name in variables else "is missing"
        raise InvalidRequestError(f"variable {name} {state}{hint}", remedy=f"give {name} in the prompt's context")
    return json.dumps(plain(name, value), ensure_ascii=False)


def plain(name: str, value: Any) -> Any:
    """A value in JSON's terms: pydantic models as objects.

    Raises:
        InvalidRequestError: JSON has nothing like it.
    """
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        from pydantic_core import PydanticSerializationError, to_jsonable_python

        try:
            return to_jsonable_python(value)
        except (PydanticSerializationError, TypeError, ValueError, RecursionError):
            raise InvalidRequestError(
                f"variable {name} is a {type(value).__name__}, which cannot be written as JSON",
                remedy="give text, numbers, lists or mappings",
            ) from None
    return value
