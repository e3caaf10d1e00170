"""``infra worker``: consume a queue with a handler of the host's."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from infra.cli.complete import resources_of
from infra.cli.session import CONFIGURATION, INTERRUPTED, OK, PROBLEM, Session, common

if TYPE_CHECKING:
    from infra.queue import AsyncQueue

#: What the worker's own exit codes are to this program.
_CODES: Final = {0: OK, 1: PROBLEM, 2: CONFIGURATION, 130: INTERRUPTED}


@asynccontextmanager
async def open_queue(root: str, name: str) -> AsyncGenerator[AsyncQueue]:
    """Open a queue resource for a worker process."""
    from infra import AsyncInfra

    services = AsyncInfra(root=Path(root))
    try:
        yield await services.open(name)
    finally:
        await services.close()


@click.command()
@click.argument("handler", metavar="MODULE:HANDLER")
@click.option("--queue", "name", default="main", show_default=True, shell_complete=resources_of("queue"), help="The queue resource.")
@click.option("--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Handlers at once, in each process.")
@click.option("--processes", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes; those that die are replaced.")
@click.option("--max-attempts", type=click.IntRange(1), default=5, show_default=True, help="Deliveries before a message is a dead letter.")
@click.option("--message", metavar="MODULE:CLASS", help="The type of messages; else the annotation of the handler's first parameter.")
@click.option("--lease", type=click.FloatRange(min=1), help="Seconds that a delivery is hidden from others; renewed while it is handled.")
@click.option("--until-empty", is_flag=True, help="End as soon as nothing waits and nothing is in work.")
@common
@click.pass_obj
def worker(
    session: Session,
    handler: str,
    name: str,
    concurrency: int,
    processes: int,
    max_attempts: int,
    message: str | None,
    lease: float | None,
    until_empty: bool,
) -> int:
    """Hand every message of a queue to MODULE:HANDLER, such as app.tasks:handle.

    The handler takes the message, or the message and its delivery; coroutine functions run in the event loop, others in threads. A
    message whose handler raises comes again. SIGTERM or Ctrl-C finishes what is in work, a second one ends at once.
    """
    from infra.queue.worker import WorkerOptions, run_worker

    full_name = session.resource("queue", name)
    session.kernel.settings(full_name)  # what is wrong with them is said here, once
    level = session.kernel.own.log_level
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(process)d %(name)s %(message)s")
    if str(session.root) not in sys.path:
        sys.path.insert(0, str(session.root))
    code = run_worker(
        WorkerOptions(
            handler=handler,
            opener="infra.cli.worker:open_queue",
            arguments={"root": str(session.root), "name": full_name},
            message=message,
            concurrency=concurrency,
            processes=processes,
            max_attempts=max_attempts,
            lease=lease,
            until="empty" if until_empty else None,
            progress=False if session.json else None,
        )
    )
    if session.json:
        session.answer({"exit_code": _CODES.get(code, code)})
    return _CODES.get(code, code)
