"""``infra outbox``: from the transactions of databases to the queues."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

import click

from infra.cli.complete import resources_of
from infra.cli.output import count, duration, table
from infra.cli.session import OK, PROBLEM, Session, common
from infra.errors import ConfigurationError

if TYPE_CHECKING:
    from infra import AsyncInfra
    from infra.database import AsyncDatabase
    from infra.database.outbox import OutboxStats

_database = click.option(
    "--database", "name", default="main", show_default=True, shell_complete=resources_of("database"), help="The database with the outbox."
)


async def _check(database: AsyncDatabase) -> AsyncDatabase:
    """Refuse a database without an outbox, with the way to make one."""
    from infra.database import StatementError
    from infra.database.outbox import AsyncRelay

    try:
        await AsyncRelay(database).stats()
    except StatementError as error:
        raise ConfigurationError(
            "it has no outbox",
            resource=database.name,
            remedy="call infra.database.outbox.include(Base.metadata) beside your models, then `infra db revision` and `infra db upgrade`",
        ) from error
    return database


@click.group()
def outbox() -> None:
    """Publish what committed transactions left in the outbox."""


@outbox.command()
@_database
@click.option("--once", is_flag=True, help="Publish what is there now, and end.")
@click.option("--poll", type=click.FloatRange(min=0.01), default=5.0, show_default=True, help="Seconds between two looks.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Rows of one lease.")
@common
@click.pass_obj
def relay(session: Session, name: str, once: bool, poll: float, batch: int) -> int:
    """Relay messages from the outbox to their queues, until SIGTERM or Ctrl-C. Several relays may work at once."""
    from infra.database.outbox import AsyncRelay, RelayPolicy
    from infra.runtime.aio import Stop

    full_name = session.resource("database", name)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")

    async def work(services: AsyncInfra) -> int:
        database = await _check(await services.open(full_name))
        for queue in (found for found in session.kernel.configuration.resources if found.startswith("queue.")):
            await services.open(queue)
        found = AsyncRelay(database, services.queue, policy=RelayPolicy(poll=poll, batch=batch))
        if once:
            total = 0
            while number := await found.step():
                total += number
            return total
        stop = Stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        session.note(f"relaying the outbox of {full_name}; Ctrl-C ends it")
        await found.run(stop)
        return 0

    total = session.run(work)
    if session.json:
        session.answer({"handled": total} if once else {"ended": True})
    elif once:
        click.echo(f"{count(total, 'message')} of {full_name} handled")
    return OK


@outbox.command()
@_database
@common
@click.pass_obj
def stats(session: Session, name: str) -> int:
    """How many messages wait in the outbox, since when, and how many were given up (exit code 1 when there are any)."""
    from infra.database.outbox import AsyncRelay

    full_name = session.resource("database", name)

    async def read(database: AsyncDatabase) -> OutboxStats:
        return await AsyncRelay(await _check(database)).stats()

    found = session.use(full_name, read)
    if session.json:
        session.answer(found)
    else:
        age = "-" if found.oldest is None else duration(found.oldest)
        table(["DATABASE", "PENDING", "DEAD", "OLDEST"], [[full_name, f"{found.pending:,}", f"{found.dead:,}", age]])
    return PROBLEM if found.dead else OK


@outbox.command()
@_database
@common
@click.pass_obj
def redrive(session: Session, name: str) -> int:
    """Let the relay try messages again that it had given up."""
    from infra.database.outbox import AsyncRelay

    async def again(database: AsyncDatabase) -> int:
        return await AsyncRelay(await _check(database)).redrive()

    number = session.use(session.resource("database", name), again)
    if session.json:
        session.answer({"redriven": number})
    else:
        click.echo(f"{count(number, 'message')} will be tried again")
    return OK
