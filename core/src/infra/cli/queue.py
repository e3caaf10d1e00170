"""``infra queue``: what waits, what was given up, and what to do with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from infra.cli.complete import resources_of
from infra.cli.output import count, duration, table
from infra.cli.session import OK, Session, common

if TYPE_CHECKING:
    from infra import AsyncInfra
    from infra.queue import AsyncQueue, DeadLetter, Message, QueueStats

_names = resources_of("queue")
_name = click.argument("name", default="main", shell_complete=_names)
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
def queue() -> None:
    """Look into queues and their dead letters."""


@queue.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_names)
@common
@click.pass_obj
def stats(session: Session, names: tuple[str, ...]) -> int:
    """How many messages wait, are in work, and were given up: of all queues, or of those named."""
    wanted = [session.resource("queue", name) for name in names]
    wanted = wanted or [name for name in session.kernel.configuration.resources if name.startswith("queue.")]

    async def one(services: AsyncInfra, name: str) -> QueueStats:
        found: AsyncQueue = await services.open(name)
        return await found.stats()

    async def all_of(services: AsyncInfra) -> list[QueueStats]:
        return await asyncio.gather(*(one(services, name) for name in wanted))

    found = dict(zip(wanted, session.run(all_of), strict=True))
    if session.json:
        session.answer(found)
        return OK
    rows = [
        [
            name,
            ("~" if one.approximate else "") + f"{one.ready:,}",
            "?" if one.delayed is None else f"{one.delayed:,}",
            f"{one.in_flight:,}",
            "?" if one.dead is None else f"{one.dead:,}",
            "-" if one.oldest is None else duration(one.oldest),
        ]
        for name, one in found.items()
    ]
    table(["QUEUE", "READY", "DELAYED", "IN WORK", "DEAD", "OLDEST"], rows)
    return OK


@queue.command()
@_name
@click.option("--most", type=click.IntRange(1, 1000), default=10, show_default=True, help="No more than so many.")
@click.option("--dead", is_flag=True, help="The dead letters instead.")
@common
@click.pass_obj
def peek(session: Session, name: str, most: int, dead: bool) -> int:
    """Show the next messages without taking them, or the dead letters with their reasons."""
    full_name = session.resource("queue", name)
    if dead:
        letters: Sequence[DeadLetter] = session.use(full_name, lambda found: found.dead_letters.list(most))
        shown = [_shown(letter.message) | {"reason": letter.reason, "died_at": letter.died_at.isoformat()} for letter in letters]
    else:
        messages: Sequence[Message] = session.use(full_name, lambda found: found.peek(most))
        shown = [_shown(message) for message in messages]
    if session.json:
        session.answer(shown)
    elif not shown:
        click.echo(f"{full_name} has no {'dead letters' if dead else 'messages that wait'}")
    else:
        columns = ["id", "attempt", "created_at", *(["reason"] if dead else []), "body"]
        table([column.upper() for column in columns], [[message[column] for column in columns] for message in shown])
    return OK


def _shown(message: Message) -> dict[str, Any]:
    try:
        body = message.body.decode()
    except UnicodeDecodeError:
        body = f"{count(len(message.body), 'byte')}: {message.body[:32].hex()}{'…' if len(message.body) > 32 else ''}"
    return {
        "id": message.id,
        "attempt": message.attempt,
        "created_at": message.created_at.isoformat(timespec="seconds"),
        "key": message.key,
        "content_type": message.content_type,
        "headers": dict(message.headers),
        "body": body,
    }


@queue.command()
@_name
@click.option("--id", "ids", multiple=True, help="Only the message with that id; can be given several times.")
@click.option("--most", type=click.IntRange(1), default=1000, show_default=True, help="No more than so many.")
@common
@click.pass_obj
def redrive(session: Session, name: str, ids: tuple[str, ...], most: int) -> int:
    """Put dead letters back into the queue, their attempts counted from the beginning."""
    full_name = session.resource("queue", name)
    number: int = session.use(full_name, lambda found: found.dead_letters.redrive(ids or None, most=most))
    _say(session, number, "redriven", f"{count(number, 'dead letter')} of {full_name} back in the queue")
    return OK


@queue.command()
@_name
@click.option("--dead", is_flag=True, help="The dead letters instead.")
@_yes
@common
@click.pass_obj
def purge(session: Session, name: str, dead: bool, yes: bool) -> int:
    """Delete all messages that nobody has in work, or all dead letters. There is no way back."""
    full_name = session.resource("queue", name)
    what = "dead letters" if dead else "waiting messages"
    session.confirm(f"Delete all {what} of {full_name}?", yes)
    number: int = session.use(full_name, lambda found: found.dead_letters.purge() if dead else found.purge())
    _say(session, number, "deleted", f"{number:,} {what} of {full_name} deleted")
    return OK


def _say(session: Session, number: int, verb: str, text: str) -> None:
    if session.json:
        session.answer({verb: number})
    else:
        click.echo(text)
