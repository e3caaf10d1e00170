"""Structured output: the form that an answer must have, and reading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from infra.llm.errors import InvalidRequestError

if TYPE_CHECKING:
    from pydantic import BaseModel


class OutputMode(StrEnum):
    """By which means a provider is asked for a form, best first."""

    SCHEMA = "schema"
    JSON = "json"
    TOOL = "tool"


class OutputMismatchError(ValueError):
    """An answer that does not have the form that was asked for; the text says where, for the model to read."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The form that an answer must have.

    Args:
        name: Letters, digits, ``_`` and ``-``; at most 64.
        schema: The JSON schema of an object.
        mode: The means, chosen by the provider's features.
        type: The pydantic model that `parse` makes; None for a plain schema.
    """

    name: str
    schema: Mapping[str, Any]
    mode: OutputMode = OutputMode.SCHEMA
    type: type[BaseModel] | None = None

    @classmethod
    def of(cls, output: Any, mode: OutputMode = OutputMode.SCHEMA) -> OutputFormat:
        """The format for a pydantic model class or a JSON schema.

        Raises:
            InvalidRequestError: It is neither.
        """
        from pydantic import BaseModel

        if isinstance(output, type) and issubclass(output, BaseModel):
            return cls(output.__name__[:64], output.model_json_schema(), mode, output)
        if isinstance(output, Mapping):
            schema = cast("Mapping[str, Any]", output)
            return cls(str(schema.get("title", "answer"))[:64], schema, mode)
        raise InvalidRequestError(
            f"output must be a pydantic model class or a JSON schema, not {output!r:.80}", remedy="pass the class, not an instance"
        )

    def parse(self, text: str) -> Any:
        """The model's instance, or the decoded object, that `text` stands for.

        Raises:
            OutputMismatchError: It is not JSON, or does not fit.
        """
        text = unfenced(text)
        if self.type is not None:
            from pydantic import ValidationError

            try:
                return self.type.model_validate_json(text)
            except ValidationError as error:
                problems = error.errors(include_url=False, include_context=False, include_input=False)
                found = [f"{'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg']}" for problem in problems[:10]]
                raise OutputMismatchError("; ".join(found)) from None
        try:
            value = json.loads(text)
        except ValueError as error:
            raise OutputMismatchError(f"not JSON: {error}") from None
        if not isinstance(value, dict):
            raise OutputMismatchError("not a JSON object")
        missing = [name for name in self.schema.get("required", ()) if name not in value]
        if missing:
            raise OutputMismatchError("; ".join(f"{name}: Field required" for name in missing))
        return cast("dict[str, Any]", value)


def unfenced(text: str) -> str:
    """`text` without the Markdown fence that models like to put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") + 1 : -3].strip()
    return text
