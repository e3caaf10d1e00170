"""The openai package and the HTTP library under it: httpx2 from 3.0 on, httpx before. Imported when a resource opens."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class SDK:
    """The two modules.

    Args:
        openai: The package.
        http: Its HTTP library, whose ``Response`` it gives out raw.
    """

    openai: Any
    http: Any


def load_sdk() -> SDK:
    """Import the package and find its HTTP library."""
    openai = import_module("openai")
    library = next(kind.__module__.partition(".")[0] for kind in openai.DefaultHttpxClient.__mro__ if kind.__module__.startswith("httpx"))
    logging.getLogger("openai._base_client").addFilter(_without_prompts)
    return SDK(openai, import_module(library))


def _without_prompts(record: logging.LogRecord) -> bool:
    """Up to version 2 the package logs whole requests at level DEBUG: prompts, and headers that a host may hold secret."""
    return not (record.levelno <= logging.DEBUG and isinstance(record.msg, str) and record.msg.startswith("Request options"))
