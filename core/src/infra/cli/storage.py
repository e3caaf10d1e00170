"""``infra storage``: list, copy, delete and sign objects. A place in a bucket is written ``NAME:KEY``: ``media:reports/may.pdf``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.cli.complete import resources_of
from infra.cli.output import count, size, table
from infra.cli.progress import Progress
from infra.cli.session import OK, Session, common

if TYPE_CHECKING:
    from infra import AsyncInfra
    from infra.storage import AsyncBucket, ObjectInfo, SignedURL


@dataclass(frozen=True, slots=True)
class Place:
    """A key, or the beginning of keys, in a bucket."""

    resource: str
    key: str

    def __str__(self) -> str:
        return f"{self.resource.partition('.')[2]}:{self.key}"


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [f"{name}:" for name in resources_of("storage")(ctx, parameter, incomplete)]


def _place(text: str) -> Place | None:
    """``NAME:KEY`` as a place; None for a path of this machine."""
    name, colon, key = text.partition(":")
    return Place(f"storage.{name or 'main'}", key) if colon and "/" not in name and "." not in name else None


def _needed(text: str) -> Place:
    place = _place(text)
    if place is None:
        raise click.UsageError(f"{text} names no bucket: write NAME:KEY, such as main:{text}")
    return place


@click.group()
def storage() -> None:
    """List, copy, delete and sign objects; a place is written NAME:KEY, such as main:reports/may.pdf."""


@storage.command()
@click.argument("place", metavar="[NAME:PREFIX]", default="main:", shell_complete=_complete)
@click.option("-r", "--recursive", is_flag=True, help="Everything below, not only this level.")
@click.option("--most", type=click.IntRange(1), default=1000, show_default=True, help="No more than so many.")
@common
@click.pass_obj
def ls(session: Session, place: str, recursive: bool, most: int) -> int:
    """List the objects whose keys begin with PREFIX."""
    where = _needed(place)

    async def read(bucket: AsyncBucket) -> tuple[list[str], list[ObjectInfo]]:
        prefixes: list[str] = []
        objects: list[ObjectInfo] = []
        async for page in bucket.list(where.key, delimiter=None if recursive else "/").pages():
            prefixes += page.prefixes
            objects += page.objects
            if len(prefixes) + len(objects) >= most:
                break
        return prefixes[:most], objects[: max(0, most - len(prefixes))]

    prefixes, objects = session.use(where.resource, read)
    if session.json:
        session.answer({"prefixes": prefixes, "objects": [_described(found) for found in objects]})
    elif not prefixes and not objects:
        session.note(f"{where} is empty")
    else:
        rows = [["-", "-", prefix] for prefix in prefixes]
        rows += [[size(found.size), f"{found.modified:%Y-%m-%d %H:%M:%S}", found.key] for found in objects]
        table(["SIZE", "MODIFIED (UTC)", "KEY"], rows)
        if len(rows) >= most:
            session.note(f"only the first {most:,} are shown: --most shows more")
    return OK


def _described(found: ObjectInfo) -> dict[str, Any]:
    return {"key": found.key, "size": found.size, "etag": found.etag, "modified": found.modified.isoformat()}


@storage.command()
@click.argument("source", shell_complete=_complete)
@click.argument("target", shell_complete=_complete)
@click.option("-r", "--recursive", is_flag=True, help="Everything below a folder or prefix.")
@common
@click.pass_obj
def cp(session: Session, source: str, target: str, recursive: bool) -> int:
    """Copy a file into a bucket, an object out of it, or objects between buckets.

    One of SOURCE and TARGET at least is a place such as media:reports/may.pdf; a path of this machine that has a colon is written ./a:b.
    """
    origin, goal = _place(source), _place(target)
    if origin is None and goal is None:
        raise click.UsageError("neither SOURCE nor TARGET names a bucket: write one as NAME:KEY, such as main:reports/may.pdf")

    async def copy(services: AsyncInfra) -> list[str]:
        into = None if goal is None else await services.open(goal.resource)
        if origin is None:
            assert goal is not None
            jobs = _uploads(into, Path(source), goal.key, recursive)
        else:
            jobs = await _copies(await services.open(origin.resource), origin.key, into, goal.key if goal else target, recursive)
        with Progress("copying", len(jobs)) as bar:
            for _, job in jobs:
                await job()
                bar.advance()
        return [name for name, _ in jobs]

    done = session.run(copy)
    if session.json:
        session.answer({"copied": done})
    else:
        click.echo(f"{count(len(done), 'object')} copied to {target}")
    return OK


_Jobs = list[tuple[str, Callable[[], Awaitable[Any]]]]


def _uploads(bucket: AsyncBucket | Any, path: Path, key: str, recursive: bool) -> _Jobs:
    if path.is_dir():
        if not recursive:
            raise click.UsageError(f"{path} is a folder: add --recursive")
        files = sorted(file for file in path.rglob("*") if file.is_file())
        keys = [f"{key}{'' if not key or key.endswith('/') else '/'}{file.relative_to(path).as_posix()}" for file in files]
    elif path.is_file():
        files, keys = [path], [f"{key}{path.name}" if not key or key.endswith("/") else key]
    else:
        raise click.UsageError(f"there is no file {path}")
    return [(name, lambda file=file, name=name: bucket.put_file(name, file)) for file, name in zip(files, keys, strict=True)]


async def _copies(bucket: AsyncBucket, key: str, into: AsyncBucket | None, target: str, recursive: bool) -> _Jobs:
    if recursive:
        names = [found.key async for found in bucket.list(key)]
        goals = [_within(target, name.removeprefix(key).lstrip("/") or _last(name)) for name in names]
    else:
        names, goals = [key], [_within(target, _last(key)) if _is_folder(target, into is None) else target]
    return [(goal, lambda name=name, goal=goal: _copy(bucket, name, into, goal)) for name, goal in zip(names, goals, strict=True)]


def _is_folder(target: str, local: bool) -> bool:
    return not target or target.endswith("/") or (local and Path(target).is_dir())


def _within(folder: str, name: str) -> str:
    return folder + name if not folder or folder.endswith("/") else f"{folder}/{name}"


def _last(key: str) -> str:
    return key.rpartition("/")[2]


async def _copy(bucket: AsyncBucket, key: str, into: AsyncBucket | None, goal: str) -> None:
    if into is None:
        Path(goal).parent.mkdir(parents=True, exist_ok=True)
        await bucket.get_file(key, goal)
    elif into is bucket:
        await bucket.copy(key, goal)
    else:
        async with bucket.open(key) as reader, into.writer(goal) as writer:
            async for chunk in reader:
                await writer.write(chunk)


@storage.command()
@click.argument("places", metavar="NAME:KEY...", nargs=-1, required=True, shell_complete=_complete)
@click.option("-r", "--recursive", is_flag=True, help="Everything whose key begins with KEY.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
@click.pass_obj
def rm(session: Session, places: tuple[str, ...], recursive: bool, yes: bool) -> int:
    """Delete objects. Those that do not exist are fine; with --recursive it asks first."""
    wanted = [_needed(place) for place in places]
    if recursive:
        session.confirm(f"Delete everything below {', '.join(map(str, wanted))}?", yes)

    async def delete(services: AsyncInfra) -> int:
        number = 0
        for place in wanted:
            bucket: AsyncBucket = await services.open(place.resource)
            keys = [found.key async for found in _below(bucket, place.key)] if recursive else [place.key]
            await bucket.delete_many(keys)
            number += len(keys)
        return number

    number = session.run(delete)
    if session.json:
        session.answer({"deleted": number})
    else:
        click.echo(f"{count(number, 'object')} deleted")
    return OK


async def _below(bucket: AsyncBucket, prefix: str) -> AsyncGenerator[ObjectInfo]:
    async for found in bucket.list(prefix):
        yield found


@storage.command()
@click.argument("place", metavar="NAME:KEY", shell_complete=_complete)
@click.option("--expires", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Seconds that it works.")
@click.option("--method", type=click.Choice(["GET", "HEAD", "PUT", "DELETE"]), default="GET", show_default=True, help="What it allows.")
@common
@click.pass_obj
def url(session: Session, place: str, expires: float, method: str) -> int:
    """A URL with which anyone may get (or put, or delete) the object until it expires. Whoever has it has the permission."""
    where = _needed(place)
    signed: SignedURL = session.use(where.resource, lambda bucket: bucket.sign(where.key, method=method, expires=expires))
    if session.json:
        described = {"url": str(signed), "method": signed.method, "expires_at": signed.expires_at.isoformat(), "headers": signed.headers}
        session.answer(described)
    else:
        click.echo(str(signed))
        session.note(f"{signed.method} until {signed.expires_at:%Y-%m-%d %H:%M:%S} UTC")
    return OK
