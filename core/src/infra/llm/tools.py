"""Tools made from functions, and what a tool takes and gives."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast, get_type_hints

from infra.llm.errors import InvalidRequestError
from infra.llm.model import Tool


class ToolArgumentsError(ValueError):
    """Arguments that a tool does not take; the text names each and says why, for the model to read."""


def tool(function: Callable[..., Any], *, name: str | None = None, description: str | None = None) -> Tool:
    """The tool that calls `function`: its schema from the annotations, its description from the docstring.

    The function gets its arguments as the types that it is annotated with: dates, enums, models, lists of these. What does not fit is told
    to the model, and the function is not called. A default stays the function's own.

    Raises:
        InvalidRequestError: It is no function, or a parameter is positional-only, variable, or of a type without a JSON schema.
    """
    from pydantic import ConfigDict, Field, PydanticUserError, create_model

    if not callable(function):
        raise InvalidRequestError(f"a {type(function).__name__} is no tool", remedy="give a Tool, or a function with annotations")
    inner: Any = function
    given: set[str] = set()
    while isinstance(inner, partial):
        given |= set(cast("partial[Any]", inner).keywords)
        inner = cast("partial[Any]", inner).func
    named = name or getattr(inner, "__name__", type(inner).__name__)
    try:
        hints = get_type_hints(inner if inspect.isroutine(inner) else type(inner).__call__, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"tool {named}: its signature cannot be read: {error}", remedy="annotate it with names that can be found in its module"
        ) from None
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}  # a parameter may have any name; a field of a model may not
    for parameter in parameters:
        if parameter.name in given:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidRequestError(
                f"tool {named}: parameter {parameter.name} cannot be given by name", remedy="write each parameter out, with its type"
            )
        default = parameter.default
        if default is parameter.empty:
            field = Field(..., alias=parameter.name)
        elif default is None or isinstance(default, str | int | float | bool):
            field = Field(default, alias=parameter.name)
        else:
            field = Field(default_factory=partial(_same, default), alias=parameter.name)
        inside = f"p{len(fields)}"
        names[inside] = parameter.name
        fields[inside] = (hints.get(parameter.name, Any), field)
    try:
        model = create_model(named, __config__=ConfigDict(arbitrary_types_allowed=False), **fields)
        schema = model.model_json_schema()
    except (PydanticUserError, TypeError) as error:
        raise InvalidRequestError(
            f"tool {named}: {str(error).splitlines()[0]}", remedy="annotate its parameters with types that JSON knows"
        ) from None
    schema.pop("title", None)

    def convert(arguments: Mapping[str, Any]) -> dict[str, Any]:
        from pydantic import ValidationError

        if unknown := [key for key in arguments if key not in names.values()]:
            known = ", ".join(names.values()) or "none"
            raise ToolArgumentsError(f"{', '.join(unknown)}: not among its parameters ({known})")
        try:
            made = model.model_validate_json(json.dumps(arguments))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            raise ToolArgumentsError(
                "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}" for problem in problems[:10])
            ) from None
        return {names[inside]: getattr(made, inside) for inside in names if inside in made.model_fields_set}

    return Tool(name=named, description=description or inspect.getdoc(inner) or "", parameters=schema, function=function, convert=convert)


def _same(value: Any) -> Any:
    return value


def as_text(value: Any) -> str:
    """A tool's result as text: text as it is, anything else as JSON, and what JSON cannot say as its own text."""
    if isinstance(value, str):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        pass
    from pydantic_core import to_json

    try:
        return to_json(value, fallback=str, bytes_mode="utf8").decode()
    except (ValueError, RecursionError):  # bytes that are no text, or a value that holds itself
        return repr(value)
