"""The command ``infra demo``."""

from __future__ import annotations

import shlex
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.cli.progress import Progress
from infra.cli.session import OK, PROBLEM, Session, common

if TYPE_CHECKING:
    from infra import AsyncInfra
    from infra.cli.demo.documents import Source
    from infra.cli.demo.outage import Troubles


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes; 1 works in this one.")
@click.option("--limit", type=click.IntRange(1), help="The most documents.")
@click.option("--data", type=click.Path(path_type=Path), help="The folder of embedded providers.  [default: .infra/demo]")
@click.option("--slow", type=click.FloatRange(0.0, 60.0), default=0.0, metavar="SECONDS", help="Dawdle over each document.")
@common
@click.pass_obj
def demo(session: Session, path: Path | None, workers: int, limit: int | None, data: Path | None, slow: float) -> int:
    """Summarise the documents at PATH: the whole way, on whatever is configured.

    Each document is uploaded to storage; its row and a message are written in one transaction; a relay moves the message to the queue;
    workers have a language model summarise it, through the cache of answers, and store the summary exactly once. Kill it whenever you
    like, and start it again: it goes on where it was. Without PATH it takes this project's own documentation.

    It needs no server: the resources database.demo, storage.demo, queue.demo, cache.demo and llm.demo get embedded providers unless they
    are configured. Nothing else of the project is touched.
    """
    from infra.cli.demo.documents import collect
    from infra.cli.demo.outage import Troubles
    from infra.cli.demo.place import settings_for

    source, documents = collect(path, limit)
    folder = (data or session.root / ".infra" / "demo").resolve()
    settings = settings_for(session.kernel, folder)
    session.configure(settings)
    again = _command(session.root, path, workers, limit, data)
    troubles = Troubles()
    with nullcontext() if session.debug else troubles.instead_of_tracebacks():
        found = session.run(lambda services: _run(session, services, source, documents, workers, limit, slow, folder, again, troubles))
    if session.json:
        session.answer(found)
    else:
        from infra.cli.demo.report import show

        show(found, again)
    return OK if found["once"] else PROBLEM


async def _run(
    session: Session,
    services: AsyncInfra,
    source: str,
    documents: list[Source],
    workers: int,
    limit: int | None,
    slow: float,
    folder: Path,
    again: str,
    troubles: Troubles,
) -> dict[str, Any]:
    from infra.cli.demo.outage import Outage
    from infra.cli.demo.place import Place
    from infra.cli.demo.report import report
    from infra.cli.demo.run import begin, finish, ingest, relaying, try_again, working

    place = await Place.open(services)
    await place.create_tables()
    course = await begin(place, source, limit, len(documents))
    if course.resumed:
        await try_again(place, course)
    session.resume = f"stopped; what is done is kept, and `{again}` goes on from there"
    if not session.json:
        session.note(f"{'going on with' if course.resumed else 'summarising'} {len(documents)} documents of {source}")
    arguments = [str(session.root.resolve()), str(folder), str(slow)]
    async with relaying(place) as relay, working(place, workers, slow, arguments) as pool:
        await pool.ready()
        started = time.perf_counter()
        with Progress("uploading", len(documents)) as bar:
            await ingest(place, course.run_id, documents, relay, bar.advance)
        course.uploading = time.perf_counter() - started
        started = time.perf_counter()
        with Progress("summarising", len(documents)) as bar:
            outage = Outage(place, slow, lambda text: session.note(session.redact(text)), troubles)
            await finish(place, course, pool, outage, bar.show)
        course.summarising = time.perf_counter() - started
    session.resume = None
    return await report(place, course)


def _command(root: Path, path: Path | None, workers: int, limit: int | None, data: Path | None) -> str:
    """The command line that goes on with this run."""
    parts = ["infra", "demo", *([str(path)] if path else [])]
    parts += ["--root", str(root)] if root.resolve() != Path.cwd() else []
    parts += ["--workers", str(workers)] if workers > 1 else []
    parts += ["--limit", str(limit)] if limit else []
    parts += ["--data", str(data)] if data else []
    return shlex.join(parts)
