"""Settings of the embedded queues."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Literal

from pydantic import Field

from infra.kernel.settings import Seconds
from infra.queue.settings import QueueSettings


class MemoryQueueSettings(QueueSettings):
    """A queue in this process's memory."""

    capacity: int | None = Field(None, ge=1, description="The most messages; publishing fails while it is full. No limit when not given.")


class SQLiteQueueSettings(QueueSettings):
    """A queue in a SQLite file; resources with the same file share one connection."""

    path: Path | None = Field(None, description="The file; queues.db in the data folder when not given.")
    synchronous: Literal["full", "normal"] = Field(
        "full", description="full: a published message survives a power failure; normal: only the end of the process, and is faster."
    )
    busy_timeout: Seconds = Field(5.0, description="Seconds to wait for a lock that another process holds.")
    poll: Seconds = Field(0.02, gt=0, description="Seconds between looks for what other processes published, while a receive waits.")
    max_pages: int | None = Field(None, ge=16, description="The most pages of 4 KiB that the file may have; no limit when not given.")

    def share_key(self) -> Hashable | None:
        """One writer for each file."""
        return self.connection_key()
