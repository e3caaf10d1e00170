"""Names and URLs of queues."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

FIFO: Final = ".fifo"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
_AMAZON: Final = re.compile(r"(?:[a-z0-9-]+\.)*(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws|api\.amazonwebservices\.com\.cn)")
#: Of `sqs.eu-central-1.amazonaws.com`, `sqs-fips.us-east-1.amazonaws.com`, `eu-central-1.queue.amazonaws.com`, `sqs.us-east-1.api.aws`.
_REGION: Final = re.compile(r"sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws|api)\.|([a-z0-9-]+)\.queue\.amazonaws\.")


def is_url(name: str) -> bool:
    """Whether a queue is named by its URL."""
    return name.startswith(("http://", "https://"))


def is_fifo(name: str) -> bool:
    """Whether a name or URL is that of a FIFO queue: SQS wants the suffix there, and only there."""
    return name.endswith(FIFO)


def is_valid(name: str) -> bool:
    """Whether SQS allows the name, or whether it is the URL of a queue with such a name."""
    if is_url(name):
        parts = urlsplit(name)
        return bool(parts.hostname) and not parts.query and _NAME.fullmatch(short(name)) is not None
    return _NAME.fullmatch(name) is not None


def short(name: str) -> str:
    """The name in a URL, or the name itself."""
    return name.rstrip("/").rpartition("/")[2]


def dead(name: str) -> str:
    """The default name of the dead-letter queue; that of a FIFO queue is one too."""
    own = short(name)
    return f"{own.removesuffix(FIFO)}-dead{FIFO}" if is_fifo(own) else f"{own}-dead"


def on_amazon(url: str) -> bool:
    """Whether an endpoint or the URL of a queue is Amazon's."""
    return _AMAZON.fullmatch(urlsplit(url).hostname or "") is not None


def region_of(url: str) -> str | None:
    """The region that an URL of Amazon's names."""
    found = _REGION.match(urlsplit(url).hostname or "")
    return found and (found[1] or found[2])


def origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
