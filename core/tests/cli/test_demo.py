"""The main job: complete, exactly once, whatever happens to it."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from infra.cli.demo import outage

from .conftest import Result, finished, kill_group

Start = Callable[..., "subprocess.Popen[str]"]
_WORDS = ["harbour", "lantern", "meadow", "copper", "winter", "signal", "orchard", "granite", "voyage", "thunder", "ribbon", "shelter"]


@pytest.fixture
def texts(project: Path) -> Path:
    """A dozen documents, all different."""
    folder = project / "texts"
    folder.mkdir()
    chance = random.Random(4)
    for number in range(12):
        sentences = [f"The {chance.choice(_WORDS)} of part {number} tells the {chance.choice(_WORDS)} about {line}." for line in range(8)]
        (folder / f"part{number:02}.md").write_text(f"# Part {number}\n\n" + " ".join(sentences) + "\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    return folder


def rows(project: Path, query: str) -> list[tuple[Any, ...]]:
    path = project / ".infra" / "demo" / "demo.sqlite3"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []  # before the tables are there


def summaries(project: Path) -> int:
    return int((rows(project, "select count(*) from demo_summaries") or [(0,)])[0][0])


def reached(process: subprocess.Popen[str], condition: Callable[[], bool], timeout: float = 120.0) -> None:
    """Wait until `condition` holds or the process has ended."""
    limit = time.monotonic() + timeout
    while not condition() and process.poll() is None:
        assert time.monotonic() < limit, "the condition was never reached"
        time.sleep(0.01)


def assert_exactly_once(project: Path, documents: int) -> None:
    per_document = rows(
        project,
        "select d.name, count(s.id) from demo_documents d left join demo_summaries s on s.document_id = d.id group by d.id",
    )
    assert len(per_document) == documents
    assert [name for name, number in per_document if number != 1] == []


def test_every_document_gets_a_summary(infra: Callable[..., Result], project: Path, texts: Path) -> None:
    result = infra("demo", str(texts), "--json")
    assert result.code == 0, result.err
    found = result.data
    assert [document["name"] for document in found["documents"]] == [f"part{number:02}.md" for number in range(12)]
    assert all("part" in document["summary"] for document in found["documents"])
    assert {provider["resource"]: provider["provider"] for provider in found["providers"]} == {
        "storage.demo": "local",
        "database.demo": "sqlite",
        "queue.demo": "sqlite",
        "llm.demo": "offline",
        "cache.demo": "sqlite",
    }
    assert found["cache"] == {"hits": 0, "misses": 12}
    assert_exactly_once(project, 12)


def test_a_second_run_finds_every_answer_in_the_cache(infra: Callable[..., Result], texts: Path) -> None:
    first = infra("demo", str(texts), "--json").data
    second = infra("demo", str(texts), "--json").data
    assert second["run"] != first["run"]
    assert not second["resumed"]
    assert second["cache"] == {"hits": 12, "misses": 0}
    assert [document["summary"] for document in second["documents"]] == [document["summary"] for document in first["documents"]]


def test_people_are_told_documents_providers_and_hits(infra: Callable[..., Result], texts: Path) -> None:
    infra("demo", str(texts), "--limit", "3")
    said = infra("demo", str(texts), "--limit", "3")
    assert said.code == 0
    assert "part02.md" in said.out
    assert "3 documents, each summarised once" in said.out
    assert "3 answers of 3 from the cache" in said.out
    assert "queue.demo" in said.out


def test_two_worker_processes_share_the_work(start: Start, project: Path, texts: Path) -> None:
    result = finished(start("demo", str(texts), "--workers", "2", "--slow", "0.4", "--json"))
    assert result.code == 0, result.err
    assert result.data["once"]
    assert result.data["restarted_workers"] == 0
    assert len({document["process"] for document in result.data["documents"]}) == 2
    handled = next(provider["calls"]["handled"] for provider in result.data["providers"] if provider["resource"] == "queue.demo")
    assert handled >= 12
    assert_exactly_once(project, 12)


@pytest.mark.parametrize(("workers", "targets"), [("1", (0, 1, 6)), ("2", (1, 7))])
def test_killed_at_random_moments_it_completes_with_exactly_one_summary_for_each_document(
    start: Start, project: Path, texts: Path, workers: str, targets: tuple[int, ...]
) -> None:
    chance = random.Random(int(workers))
    arguments = ("demo", str(texts), "--workers", workers, "--slow", "0.4", "--json")
    run_ids: set[Any] = set()
    for target in targets:
        process = start(*arguments)
        # Somewhere on the way: while it starts and uploads, or once some summaries are there, a random while later.
        reached(process, lambda target=target: bool(rows(project, "select id from demo_documents")) and summaries(project) >= target)
        time.sleep(chance.uniform(0.0, 0.3))
        kill_group(process)
        process.wait(timeout=10)
        run_ids |= {row[0] for row in rows(project, "select id from demo_runs")}
    result = finished(start(*arguments))
    assert result.code == 0, result.err
    assert result.data["resumed"]
    assert result.data["once"]
    assert len(run_ids) == 1
    assert_exactly_once(project, 12)


def test_the_death_of_the_parent_alone_ends_its_workers_and_costs_nothing(start: Start, project: Path, texts: Path) -> None:
    arguments = ("demo", str(texts), "--workers", "2", "--slow", "0.4", "--json")
    process = start(*arguments)
    reached(process, lambda: summaries(project) >= 1)
    process.kill()
    process.communicate(timeout=60)  # the workers hold its standard error, so this also waits for their end
    result = finished(start(*arguments))
    assert result.code == 0, result.err
    assert_exactly_once(project, 12)


def test_ctrl_c_says_how_to_go_on(start: Start, project: Path, texts: Path) -> None:
    process = start("demo", str(texts), "--slow", "1")
    reached(process, lambda: summaries(project) >= 1)
    process.send_signal(signal.SIGINT)
    stopped = finished(process)
    assert stopped.code == 130
    assert "Traceback" not in stopped.err
    assert f"`infra demo {texts}` goes on from there" in stopped.err
    again = finished(start("demo", str(texts), "--json"))
    assert again.code == 0, again.err
    assert again.data["resumed"]
    assert_exactly_once(project, 12)


def test_settings_alone_move_it_to_other_providers(
    infra: Callable[..., Result], project: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFRA_QUEUE__DEMO__PROVIDER", "memory")
    (project / "infra.toml").write_text('[storage.demo]\nprovider = "memory"\n[cache.demo]\nprovider = "memory"\n')
    found = infra("demo", str(texts), "--json").data
    providers = {provider["resource"]: provider["provider"] for provider in found["providers"]}
    assert (providers["queue.demo"], providers["storage.demo"], providers["cache.demo"]) == ("memory", "memory", "memory")
    assert found["once"]


def test_a_document_that_cannot_be_summarised_is_told_and_tried_again_next_time(
    infra: Callable[..., Result], texts: Path, project: Path
) -> None:
    settings = project / "infra.toml"
    settings.write_text('[llm.demo]\nprovider = "offline"\nscript = [{match = "of part 3 ", status = 400}]\n')
    broken = infra("demo", str(texts))
    assert broken.code == 1
    assert "llm.demo" in broken.out
    assert "NOT each summarised once" in broken.out
    settings.unlink()
    assert infra("demo", str(texts), "--json").data["once"]


def test_a_place_that_does_not_exist_is_told(infra: Callable[..., Result]) -> None:
    result = infra("demo", "nothing")
    assert result.code == 3
    assert result.err == "infra: there is no file or folder nothing; name one with text documents\n"


def test_a_folder_without_text_is_told(infra: Callable[..., Result], project: Path) -> None:
    (project / "empty").mkdir()
    result = infra("demo", str(project / "empty"))
    assert result.code == 3
    assert "has no text documents" in result.err


def test_without_a_path_it_takes_this_projects_documentation(infra: Callable[..., Result]) -> None:
    result = infra("demo", "--limit", "2", "--json")
    assert result.code == 0, result.err
    assert len(result.data["documents"]) == 2
    assert all(document["name"].endswith(".md") for document in result.data["documents"])


def test_the_command_that_goes_on_names_another_project_folder(infra: Callable[..., Result], texts: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    said = infra("demo", str(texts), "--root", str(elsewhere), "--limit", "1")
    assert f"Run `infra demo {texts} --root {elsewhere} --limit 1` again" in said.out


def test_in_production_it_makes_no_tables(infra: Callable[..., Result], texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRA_ENVIRONMENT", "production")
    refused = infra("demo", str(texts))
    assert refused.code == 3
    assert refused.err.startswith("infra: database.demo: the demo makes its own tables, which is refused in production; ")


def test_a_handler_that_keeps_failing_is_told_in_one_line(
    infra: Callable[..., Result], texts: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "_STILL", 0.3)
    monkeypatch.setattr(outage, "_BETWEEN", 0.1)
    rule = '{match = "of part 3 ", status = 503, times = 4}'
    (project / "infra.toml").write_text(f'[llm.demo]\nprovider = "offline"\nretries = 0\nscript = [{rule}]\n')
    said = infra("demo", str(texts))
    assert said.code == 0, said.err
    told = [line for line in said.err.splitlines() if line.startswith("nothing done for")]
    assert told, said.err  # once; again where the machine stood still after a document was done
    assert all("though every server answers: queue.demo: handler failed, attempt " in line for line in told)
    assert "Traceback" not in said.err
