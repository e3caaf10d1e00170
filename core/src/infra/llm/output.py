"""Structured output: the form that an answer must have, and reading it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, cast

from infra.llm.errors import InvalidRequestError

if TYPE_CHECKING:
    from pydantic import BaseModel


_THOUGHTS: Final = re.compile(r"<(think|thinking|thought|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_FENCE: Final = re.compile(r"```[\w-]*[ \t]*\n?(.*?)```", re.DOTALL)
_COMMAS: Final = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')  # a text as it is, or a comma with nothing after it
_OPENING: Final = re.compile(r"[{\[]")
_DECODER: Final = json.JSONDecoder()


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
        from pydantic import BaseModel, PydanticUserError

        if isinstance(output, type) and issubclass(output, BaseModel):
            try:
                return cls(output.__name__[:64], output.model_json_schema(), mode, output)
            except (PydanticUserError, TypeError) as error:
                raise InvalidRequestError(
                    f"{output.__name__} has no JSON schema: {str(error).splitlines()[0]}", remedy="give its fields types that JSON knows"
                ) from None
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
        try:
            return self._fitted(text)
        except OutputMismatchError as problem:
            fitting: list[Any] = []
            for candidate in candidates(text):
                try:
                    found = self._fitted(candidate)
                except OutputMismatchError:
                    continue
                if found not in fitting:
                    fitting.append(found)
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                raise OutputMismatchError("it holds several different JSON objects; give only the right one") from None
            raise problem from None

    def _fitted(self, text: str) -> Any:
        """What `text`, which must be JSON and nothing else, stands for."""
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
        except (ValueError, RecursionError) as error:
            raise OutputMismatchError(f"not JSON: {error}") from None
        if not isinstance(value, dict):
            raise OutputMismatchError("not a JSON object")
        missing = [name for name in self.schema.get("required", ()) if name not in value]
        if missing:
            raise OutputMismatchError("; ".join(f"{name}: Field required" for name in missing))
        return cast("dict[str, Any]", value)


def candidates(text: str) -> Iterator[str]:
    """The JSON values that stand in `text` among thoughts, prose and Markdown fences. What lies within a broken value is none of them."""
    text = _THOUGHTS.sub(" ", text.lstrip("\ufeff"))
    text = text.rpartition("</think>")[2]  # some servers swallow the opening mark
    fenced = [found for match in _FENCE.finditer(text) if (found := list(_values(match[1])))]
    for found in fenced or [list(_values(text))]:
        yield from found


def _values(text: str) -> Iterator[str]:
    text = _COMMAS.sub(lambda match: match[1] or "", text)
    at = 0
    while (start := _OPENING.search(text, at)) is not None:
        at = start.start()
        try:
            _, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            if error.pos >= len(text.rstrip()) or "Unterminated" in error.msg:
                return  # it breaks off
            at = max(error.pos, at + 1)
        except (ValueError, RecursionError):
            return
        else:
            yield text[at:end]
            at = end
