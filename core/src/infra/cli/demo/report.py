"""What a run did, for people and for programs."""

from __future__ import annotations

from typing import Any

import click

from infra.cli.demo.model import Document, Summary
from infra.cli.demo.place import Place
from infra.cli.demo.run import Course
from infra.cli.output import count, duration, mark, paragraph, size, table

_SHOWN = 110  # characters of a summary


async def report(place: Place, course: Course) -> dict[str, Any]:
    """Everything about a run, read back from the database."""
    from sqlalchemy import select

    async with place.database.session(autocommit=True) as session:
        query = select(Document, Summary).join(Summary, Summary.document_id == Document.id, isouter=True)
        rows = (await session.execute(query.where(Document.run_id == course.run_id))).all()
    documents = sorted((_line(document, summary) for document, summary in rows), key=lambda line: line["name"])  # servers collate
    names = [document["name"] for document in documents]
    models = ", ".join(sorted({document["model"] for document in documents if document["model"]}))
    hits = sum(document["cached"] is True for document in documents)
    calls = place.calls
    did = {
        "storage": {"put": calls["storage.put"], "get": calls["storage.get"]},
        "database": {"transactions": calls["database.transaction"]},
        "queue": {"announced": calls["queue.announced"], "handled": calls["queue.handled"], "repeated": calls["queue.repeated"]},
        "llm": {f"answered by {models}": calls["llm.answered"]},
        "cache": {"answers found": calls["llm.cached"], "not found": calls["llm.answered"]},
    }
    resources = {"storage": place.storage, "database": place.database, "queue": place.queue, "llm": place.llm, "cache": place.cache}
    return {
        "run": str(course.run_id),
        "resumed": course.resumed,
        "documents": documents,
        "providers": [
            {"resource": resource.name, "provider": resource.provider, "calls": did[name]} for name, resource in resources.items()
        ],
        "cache": {"hits": hits, "misses": len(documents) - hits - len(course.failed)},
        "seconds": {"uploading": round(course.uploading, 3), "summarising": round(course.summarising, 3)},
        "restarted_workers": course.restarts,
        "once": len(names) == len(set(names)) == sum(document["summary"] is not None for document in documents),
        "failed": course.failed,
    }


def _line(document: Document, summary: Summary | None) -> dict[str, Any]:
    found: dict[str, Any] = {"name": document.name, "size": document.size}
    if summary is None:
        return found | dict.fromkeys(("summary", "model", "cached", "seconds", "attempt", "process"))
    return found | {
        "summary": summary.text,
        "model": summary.model,
        "cached": summary.cached,
        "seconds": round(summary.seconds, 4),
        "attempt": summary.attempt,
        "process": summary.process,
    }


def _calls(calls: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in calls.items() if number) or "-"


def show(found: dict[str, Any], again: str) -> None:
    """Print a report.

    Args:
        found: The report.
        again: The command line that ran it.
    """
    rows: list[list[str]] = []
    for document in found["documents"]:
        text = " ".join(str(document["summary"] or "").split())
        shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1].rstrip() + "…"
        source = "-" if document["cached"] is None else "cache" if document["cached"] else "model"
        took = "-" if document["seconds"] is None else duration(document["seconds"])
        rows.append([document["name"], size(document["size"]), source, took, shown])
    table(["DOCUMENT", "SIZE", "ANSWER", "TOOK", "SUMMARY"], rows)
    click.echo()
    used = [[provider["resource"], provider["provider"], _calls(provider["calls"])] for provider in found["providers"]]
    table(["RESOURCE", "PROVIDER", "THIS TIME"], used)
    click.echo()
    seconds, cache = found["seconds"], found["cache"]
    total = len(found["documents"])
    once = f"{count(total, 'document')}, " + ("each summarised once" if found["once"] else "NOT each summarised once")
    took = f"uploaded in {duration(seconds['uploading'])}, summarised in {duration(seconds['summarising'])}"
    click.echo(f"{mark(found['once'])} {once}; {took}; {count(cache['hits'], 'answer')} of {total} from the cache")
    if found["restarted_workers"]:
        click.echo(f"  {count(found['restarted_workers'], 'worker process')} died and was replaced")
    for reason in found["failed"]:
        paragraph(f"{mark(False)} ", reason, 2)
    if found["failed"]:
        click.echo(f"  When the cause is gone, `{again}` tries them again.")
    elif not cache["hits"]:
        click.echo(f"  Run `{again}` again: the answers then come from the cache.")
