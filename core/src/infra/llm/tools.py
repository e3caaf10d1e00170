"""Tools made from functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from infra.llm.errors import InvalidRequestError
from infra.llm.model import Tool


def tool(function: Callable[..., Any], *, name: str | None = None, description: str | None = None) -> Tool:
    """The tool that calls `function`: its schema from the annotations, its description from the docstring.

    Raises:
        InvalidRequestError: A parameter is positional-only, variable, or of a type without a JSON schema.
    """
    from pydantic import PydanticSchemaGenerationError, create_model

    named = name or getattr(function, "__name__", type(function).__name__)
    hints = get_type_hints(function if inspect.isroutine(function) else type(function).__call__, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidRequestError(f"tool {named}: parameter {parameter.name} cannot be given by name")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    try:
        schema = create_model(named, **fields).model_json_schema()
    except PydanticSchemaGenerationError as error:
        raise InvalidRequestError(f"tool {named}: {error}", remedy="annotate its parameters with types that JSON knows") from None
    schema.pop("title", None)
    return Tool(name=named, description=description or inspect.getdoc(function) or "", parameters=schema, function=function)
