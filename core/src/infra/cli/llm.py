"""``infra llm``: a question, and what answers it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from infra.cli.complete import resources_of
from infra.cli.output import duration, table
from infra.cli.session import OK, Session, common

if TYPE_CHECKING:
    from infra import AsyncInfra
    from infra.llm import AsyncLLM, Response


@click.group()
def llm() -> None:
    """Ask language models."""


@llm.command()
@click.argument("words", metavar="PROMPT...", nargs=-1, required=True)
@click.option("--name", default="main", show_default=True, shell_complete=resources_of("llm"), help="The LLM resource.")
@click.option("--model", help="Another model than the resource's.")
@click.option("--system", help="What the model is told beforehand.")
@click.option("--temperature", type=click.FloatRange(0.0, 2.0), help="0 for the likeliest words.")
@click.option("--task", help="What the call is for; the offline provider does tasks by name, such as summary.")
@click.option("--no-cache", is_flag=True, help="Ask again, even if the answer is kept.")
@common
@click.pass_obj
def ask(
    session: Session,
    words: tuple[str, ...],
    name: str,
    model: str | None,
    system: str | None,
    temperature: float | None,
    task: str | None,
    no_cache: bool,
) -> int:
    """Ask a question and print the answer as it comes. PROMPT - reads it from standard input."""
    from infra.llm import Finish, Message, Options, Role, TextDelta

    text = sys.stdin.read() if words == ("-",) else " ".join(words)
    messages = [*([Message(Role.SYSTEM, system)] if system else []), Message(Role.USER, text)]
    options = Options(model=model, temperature=temperature, task=task, cache="refresh" if no_cache else None)
    full_name = session.resource("llm", name)

    async def answer(found: AsyncLLM) -> Response:
        if session.json:
            return await found.generate(messages, options)
        response: Response | None = None
        async for event in found.stream(messages, options):
            if isinstance(event, TextDelta):
                click.echo(event.text, nl=False)
            elif isinstance(event, Finish):
                response = event.response
        assert response is not None
        return response

    response = session.use(full_name, answer)
    if session.json:
        from infra.llm import response_to_json

        session.answer(response_to_json(response))
        return OK
    click.echo()
    usage = response.usage_stats
    facts = [
        response.model,
        f"{usage.prompt_tokens or 0} + {usage.completion_tokens or 0} tokens{' (estimated)' if usage.estimated else ''}",
    ]
    facts += ["from the cache"] if response.cached else []
    facts += [f"{response.cost} USD"] if response.cost is not None else []
    session.note(" · ".join(facts))
    for warning in response.warnings:
        session.note(f"! {warning.message}")
    return OK


@llm.command()
@common
@click.pass_obj
def models(session: Session) -> int:
    """The models of every LLM resource, and what each can do. Asks no server that costs money."""
    names = [name for name in session.kernel.configuration.resources if name.startswith("llm.")]

    async def describe(services: AsyncInfra) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name in names:
            one: AsyncLLM = await services.open(name)
            health, info = await one.health(), one.driver.info
            found.append(
                {
                    "resource": name,
                    "provider": one.provider,
                    "model": one.settings.model or info.model,
                    "embedding_model": one.settings.embedding_model or info.embedding_model or None,
                    "status": str(health.status),
                    "answers_in": health.duration,
                    "context_tokens": info.context_tokens,
                    "features": sorted(one.features),
                    "note": info.degraded,
                }
            )
        return found

    found = session.run(describe)
    if session.json:
        session.answer(found)
        return OK
    rows = [
        [
            one["resource"],
            one["provider"],
            one["model"],
            one["embedding_model"] or "-",
            one["status"],
            duration(one["answers_in"]),
            one["note"] or ", ".join(one["features"]),
        ]
        for one in found
    ]
    table(["RESOURCE", "PROVIDER", "MODEL", "EMBEDDINGS", "STATUS", "TOOK", "WHAT"], rows)
    return OK
