"""What the links of the chain pass on, and what each of them is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from infra.llm.driver import LLMRequest
from infra.llm.events import StreamEvent
from infra.llm.model import CacheMode, Response
from infra.runtime.deadline import Deadline


@dataclass(slots=True)
class Call:
    """One call on its way through the chain.

    Args:
        request: What the driver will be asked.
        deadline: When the whole call must be done.
        cache: How answers are kept; ``never`` for sensitive calls, whatever was asked.
    """

    request: LLMRequest
    deadline: Deadline
    cache: CacheMode


class AsyncStep(Protocol):
    """A link of the chain. It raises errors of the tree only."""

    async def generate(self, call: Call) -> Response:
        """One answer."""
        ...

    def stream(self, call: Call) -> AsyncGenerator[StreamEvent]:
        """One answer in pieces, with exactly one `Start` first and one `Finish` last."""
        ...
