"""``infra cache``: single entries, and all of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from infra.cli.complete import resources_of
from infra.cli.output import table
from infra.cli.session import OK, PROBLEM, Session, common

if TYPE_CHECKING:
    from infra.cache import AsyncCache

_name = click.option("--name", default="main", show_default=True, shell_complete=resources_of("cache"), help="The cache resource.")
_namespace = click.option("--namespace", help="The namespace within the cache.")


@click.group()
def cache() -> None:
    """Read, write and clear a cache."""


def _in(found: AsyncCache, namespace: str | None) -> AsyncCache:
    return found.namespace(namespace) if namespace else found


@cache.command()
@click.argument("key")
@_name
@_namespace
@common
@click.pass_obj
def get(session: Session, key: str, name: str, namespace: str | None) -> int:
    """Print the value of KEY. Exit code 1 when there is none."""
    from infra.cache import MISS

    full_name = session.resource("cache", name)

    async def read(found: AsyncCache) -> tuple[Any, float | None]:
        value = await _in(found, namespace).get(key, MISS)
        ttl = await _in(found, namespace).ttl(key) if value is not MISS and found.supports("ttl") else None
        return value, ttl

    value, ttl = session.use(full_name, read)
    there = value is not MISS
    if session.json:
        session.answer({"key": key, "found": there, "value": value if there else None, "ttl": ttl})
    elif not there:
        session.note(f"{full_name} has no {key}")
    else:
        click.echo(value if isinstance(value, str | bytes) else json.dumps(value, default=str, ensure_ascii=False))
    return OK if there else PROBLEM


@cache.command(name="set")
@click.argument("key")
@click.argument("value")
@click.option("--ttl", type=float, default=3600.0, show_default=True, help="Seconds that it lives; 0 for ever.")
@click.option("--text", is_flag=True, help="Store VALUE as text even where it is JSON.")
@_name
@_namespace
@common
@click.pass_obj
def set_(session: Session, key: str, value: str, ttl: float, text: bool, name: str, namespace: str | None) -> int:
    """Store VALUE under KEY: as what it says where it is JSON, else as text."""
    stored: Any = value
    if not text:
        try:
            stored = json.loads(value)
        except ValueError:
            stored = value
    done: bool = session.use(session.resource("cache", name), lambda found: _in(found, namespace).set(key, stored, ttl or None))
    if session.json:
        session.answer({"key": key, "stored": done})
    elif not done:
        session.fail(f"{session.resource('cache', name)}: {key} was not stored, since the cache does not answer; try `infra health`")
    return OK if done else PROBLEM


@cache.command()
@click.argument("keys", nargs=-1, required=True)
@_name
@_namespace
@common
@click.pass_obj
def delete(session: Session, keys: tuple[str, ...], name: str, namespace: str | None) -> int:
    """Delete KEYS."""
    number: int = session.use(session.resource("cache", name), lambda found: _in(found, namespace).delete_many(keys))
    if session.json:
        session.answer({"deleted": number})
    else:
        click.echo(f"{number} of {len(keys)} deleted")
    return OK


@cache.command()
@_name
@_namespace
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
@click.pass_obj
def clear(session: Session, name: str, namespace: str | None, yes: bool) -> int:
    """Forget every entry of the cache, or of one of its namespaces."""
    full_name = session.resource("cache", name)
    session.confirm(f"Forget all entries of {full_name}{f', namespace {namespace}' if namespace else ''}?", yes)
    done: bool = session.use(full_name, lambda found: _in(found, namespace).clear())
    if session.json:
        session.answer({"cleared": done})
    elif done:
        click.echo(f"{full_name} is empty")
    else:
        session.fail(f"{full_name}: it was not cleared, since the cache does not answer; try `infra health`")
    return OK if done else PROBLEM


@cache.command()
@_name
@common
@click.pass_obj
def stats(session: Session, name: str) -> int:
    """The cache's provider, its features, and how fast it answers."""
    full_name = session.resource("cache", name)

    async def ask(found: AsyncCache) -> dict[str, Any]:
        health = await found.health()
        return {
            "resource": found.name,
            "provider": found.provider,
            "status": str(health.status),
            "answers_in_ms": round(health.duration * 1000, 3),
            "features": sorted(found.features),
            **health.details,
        }

    found = session.use(full_name, ask)
    if session.json:
        session.answer(found)
    else:
        shown = found | {"features": ", ".join(found["features"]) or "none"}
        table(["FACT", "VALUE"], [[key.replace("_", " "), value] for key, value in shown.items()])
    return OK
