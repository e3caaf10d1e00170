"""Every command: what it says, to people and to programs, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.cli.program import COMMANDS

from .conftest import Result

Run = Callable[..., Result]
_CANARY = "s3cret-c4nary-9931"


def configure(project: Path, text: str) -> None:
    (project / "infra.toml").write_text(text)


LOCAL = """
[database.main]
provider = "sqlite"
[queue.jobs]
provider = "sqlite"
[cache.main]
provider = "sqlite"
[storage.main]
provider = "local"
[llm.main]
provider = "offline"
"""


# The program itself


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(infra: Run, command: str) -> None:
    result = infra(command, "--help")
    assert result.code == 0
    assert "Usage: infra " in result.out


def test_help_lists_every_command_without_importing_them(project: Path) -> None:
    code = (
        "import sys; from infra.cli import main; main(['--help']);"
        "print([n for n in sys.modules if n.startswith('infra.cli.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"  {command} " in done.stdout for command in COMMANDS)
    assert done.stderr.strip() == "['infra.cli.session', 'infra.cli.program']"


def test_providers_imports_neither_pydantic_nor_sqlalchemy_nor_an_sdk(project: Path) -> None:
    heavy = ("pydantic", "sqlalchemy", "asyncio", "logging", "email.parser", "rich", "boto3", "redis", "openai", "pika", "psycopg", "json")
    code = f"import sys; from infra.cli import main; main(['providers']);print([n for n in {heavy!r} if n in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_an_unknown_command_names_the_nearest(infra: Run) -> None:
    result = infra("provider")
    assert result.code == 2
    assert "did you mean providers?" in result.err


def test_wrong_usage_is_two(infra: Run) -> None:
    assert infra("providers", "--nonsense").code == 2
    assert infra("--root", "nowhere", "providers").code == 2


def test_errors_are_json_when_json_is_asked_for(infra: Run) -> None:
    result = infra("explain", "queue.nope", "--json")
    assert result.code == 3
    assert result.data["error"]["resource"] == "queue.nope"
    assert "infra.toml" in result.data["error"]["remedy"]


def test_root_names_another_project_folder(infra: Run, project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    configure(other, '[queue.elsewhere]\nprovider = "memory"\n')
    assert "elsewhere" in infra("--root", str(other), "providers").out
    assert "elsewhere" in infra("providers", "--root", str(other)).out
    assert "elsewhere" not in infra("providers").out


def test_debug_shows_the_traceback_without_secrets(infra: Run, plugin: Callable[..., None], project: Path) -> None:
    plugin(
        "infra-raising",
        "import click\nfrom infra.plugin import hookimpl\n"
        "@hookimpl\ndef infra_commands():\n    return ['infra_raising:fall']\n"
        f"@click.command()\ndef fall():\n    raise RuntimeError('the password is {_CANARY}')\n",
    )
    configure(
        project, f'[queue.main]\nprovider = "sqlite"\n[database.main]\nurl = "postgresql://u:{_CANARY}@h/d"\npassword = "{_CANARY}"\n'
    )
    plain = infra("fall")
    assert plain.code == 1
    assert plain.err.startswith("infra: unexpected RuntimeError: the password is ********")
    assert "Traceback" not in plain.err
    debug = infra("--debug", "fall")
    assert "Traceback" in debug.err
    assert _CANARY not in plain.err + debug.err


def test_completion_offers_commands_and_resources(project: Path) -> None:
    configure(project, LOCAL)
    command = [sys.executable, "-c", "from infra.cli import main; main()"]

    def complete(words: str, index: int) -> str:
        environ = {"_INFRA_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False).stdout

    assert "plain,providers" in complete("infra prov", 1)
    assert "plain,queue.jobs" in complete("infra explain queue.j", 2)


# Broken surroundings


@pytest.mark.parametrize("code", ["raise RuntimeError('boom')", "raise SystemExit(3)", "import a_module_nobody_has"])
def test_every_command_works_with_a_broken_plugin(infra: Run, plugin: Callable[..., None], code: str, project: Path) -> None:
    plugin("infra-wrecked", code)
    configure(project, LOCAL)
    shown = infra("providers")
    assert shown.code == 0
    assert "infra-wrecked" in shown.out
    assert "repair or uninstall infra-wrecked" in shown.out
    for command in (["explain"], ["config", "show"], ["health"], ["cache", "set", "a", "1"], ["queue", "stats"], ["db", "stats"]):
        assert infra(*command).code == 0, command
    assert infra("doctor").code == 1


def test_a_file_that_is_no_toml_is_said_in_one_line(infra: Run, project: Path) -> None:
    configure(project, "[queue.main\n")
    for command in (["providers"], ["explain"], ["config", "check"], ["health"], ["queue", "stats"]):
        result = infra(*command)
        assert result.code == 3
        assert result.err.count("\n") == 1
        assert "infra.toml is not valid TOML" in result.err
    doctor = infra("doctor")
    assert doctor.code == 1
    assert "infra.toml is not valid TOML" in doctor.out


def test_a_plugins_command_runs_and_is_listed(infra: Run, plugin: Callable[..., None]) -> None:
    plugin(
        "infra-greeting",
        "from infra.plugin import hookimpl\n@hookimpl\ndef infra_commands():\n    return ['greet=infra_greeting:hello', 'nowhere:at_all']\n"
        "import click\n@click.command()\n@click.pass_obj\ndef hello(session):\n    click.echo(f'hello {session.root.name}')\n",
    )
    assert infra("greet").out == "hello project\n"
    assert "greet" in infra("--help").out
    broken = infra("at-all")
    assert broken.code == 1
    assert "the command at-all of infra-greeting 1.2 could not be loaded" in broken.err


# Providers, explain, config


def test_providers_names_the_resources_that_use_each(infra: Run, project: Path) -> None:
    configure(project, LOCAL)
    rows = infra("providers", "--json").data["providers"]
    queue = next(row for row in rows if (row["capability"], row["provider"]) == ("queue", "sqlite"))
    assert queue["distribution"] == "infra-local"
    assert queue["state"] == "available"
    assert queue["resources"]["queue.jobs"] == "configured"


def test_check_opens_the_configured_resources(infra: Run, project: Path) -> None:
    configure(project, LOCAL)
    assert "jobs (open)" in infra("providers", "--check").out
    configure(project, '[queue.jobs]\nprovider = "sqlite"\npath = "/proc/nothing/here.db"\n')
    failed = infra("providers", "--check")
    assert failed.code == 1
    assert "jobs (open_failed)" in failed.out


def test_all_adds_what_could_be_installed_and_what_is_denied(infra: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRA_PLUGINS_ALLOW", "nothing-at-all")
    assert infra("providers").out.startswith("No plugin is active")
    assert "the allow and deny lists exclude it" in infra("providers", "--all").out


def test_explain_shows_decisions_origins_and_the_remedy(infra: Run, project: Path) -> None:
    configure(project, '[queue.jobs]\nprovider = "sqlite"\npth = "x"\nlease = 30\n')
    result = infra("explain", "queue.jobs")
    assert result.code == 3
    assert "queue.jobs  invalid" in result.out
    assert "✓ provider sqlite: named by infra.toml [queue.jobs] provider" in result.out
    assert "✗ pth is not a setting (infra.toml [queue.jobs] pth); did you mean path?" in result.out
    assert "(infra.toml [queue.jobs] lease)" in result.out
    assert infra("explain", "cache").code == 0


def test_config_show_masks_secrets_and_names_origins(infra: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(project, f'[storage.media]\nprovider = "local"\nsigning_key = "{_CANARY}"\n')
    monkeypatch.setenv("INFRA_STORAGE__MEDIA__ROOT", "/srv/media")
    for command in (["config", "show"], ["config", "show", "storage.media", "--defaults"], ["explain", "storage.media"]):
        for more in ([], ["--json"]):
            result = infra(*command, *more)
            assert result.code == 0
            assert _CANARY not in result.out + result.err
            assert "INFRA_STORAGE__MEDIA__ROOT" in result.out


def test_config_check_reports_every_problem_at_once(infra: Run, project: Path) -> None:
    configure(project, '[infra]\nenvironmnt = "x"\n[queue.a]\nprovider = "sqlite"\npth = "x"\n[cache.b]\nprovider = "rediss"\n')
    result = infra("config", "check")
    assert result.code == 3
    assert "did you mean environment?" in result.out
    assert "did you mean path?" in result.out
    assert "cache.b" in result.out
    assert not infra("config", "check", "--json").data["is_valid"]
    configure(project, LOCAL)
    assert infra("config", "check").code == 0


def test_a_template_is_toml_that_validates(infra: Run, project: Path) -> None:
    for row in infra("providers", "--json").data["providers"]:
        if row["distribution"] != "infra-local":
            continue
        name = f"{row['capability']}.{row['provider']}"
        text = infra("config", "template", name).out
        assert tomllib.loads(text)[row["capability"]]["main"] == {"provider": row["provider"]}
        commented = "\n".join(line.removeprefix("# ") if " = " in line else line for line in text.splitlines())
        tomllib.loads(commented)
        configure(project, text)
        assert infra("config", "check").code == 0, name


def test_schemas_are_json_schemas(infra: Run) -> None:
    assert infra("config", "schema", "queue.sqlite").data["properties"]["path"]
    assert set(infra("config", "schema", "sqlite").data) == {"database.sqlite", "queue.sqlite", "cache.sqlite"}
    assert infra("config", "schema").data["properties"]["queue"]["additionalProperties"]["anyOf"]


def test_a_provider_that_is_not_installed_names_its_package(infra: Run) -> None:
    result = infra("config", "template", "cache.nonesuch")
    assert result.code == 3
    assert "no installed plugin has a provider cache.nonesuch" in result.err


# Health and doctor


def test_health_asks_every_resource(infra: Run, project: Path) -> None:
    configure(project, LOCAL)
    result = infra("health", "--json")
    assert result.code == 0, result.out
    assert result.data["checks"]["queue.jobs"]["status"] == "up"
    assert result.data["checks"]["llm.main"]["status"] == "degraded"
    assert "queue.jobs" in infra("health", "queue.jobs").out


def test_health_is_one_when_something_required_is_down(infra: Run, project: Path) -> None:
    configure(project, '[queue.jobs]\nprovider = "sqlite"\npath = "/proc/nothing/here.db"\n')
    result = infra("health")
    assert result.code == 1
    assert "down" in result.out
    configure(project, '[queue.jobs]\nprovider = "sqlite"\npath = "/proc/nothing/here.db"\nrequired = false\n')
    assert infra("health").code == 0


def test_doctor_finds_nothing_wrong_here(infra: Run, project: Path) -> None:
    configure(project, LOCAL)
    result = infra("doctor", "--json")
    assert result.code == 0, result.out
    assert {finding["area"] for finding in result.data["findings"]} == {"plugins", "providers", "configuration", "resources"}


def test_doctor_names_conflicts_missing_requirements_heavy_imports_and_ignored_urls(
    infra: Run, plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(
        "infra-heavy",
        "import pydantic\nfrom infra.plugin import Provider, hookimpl\n@hookimpl\ndef infra_cache():\n"
        "    return [Provider(name='memory', summary='', settings='a:b', open='a:c')]\n",
        requires=["a-package-nobody-has>=2", "click<1"],
    )
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    monkeypatch.setenv("UFC_DB_URL", "oracle://h/d")
    result = infra("doctor")
    assert result.code == 1
    for words in (
        "infra-heavy and infra-local both offer cache provider memory",
        "it requires a-package-nobody-has, which is not installed",
        "it requires click<1",
        "its import pulls in pydantic",
        "UFC_DB_URL looks like a database",
    ):
        assert words in result.out, words


# Rooms


def test_cache_commands(infra: Run, project: Path) -> None:
    configure(project, LOCAL)
    assert infra("cache", "get", "a").code == 1
    assert infra("cache", "set", "a", '{"x": [1]}').code == 0
    assert json.loads(infra("cache", "get", "a").out) == {"x": [1]}
    assert infra("cache", "get", "a", "--json").data["value"] == {"x": [1]}
    assert infra("cache", "delete", "a", "b").out == "1 of 2 deleted\n"
    assert infra("cache", "clear").code == 2  # nobody is there to confirm it
    assert infra("cache", "clear", "--yes").code == 0
    assert infra("cache", "stats", "--json").data["provider"] == "sqlite"


def test_a_cache_in_memory_says_that_nothing_is_kept(infra: Run) -> None:
    assert "keeps its data in each process" in infra("cache", "set", "a", "1").err


def test_storage_commands(infra: Run, project: Path) -> None:
    configure(project, LOCAL)
    (project / "folder" / "sub").mkdir(parents=True)
    (project / "folder" / "a.txt").write_text("alpha")
    (project / "folder" / "sub" / "b.txt").write_text("beta")
    assert infra("storage", "cp", "folder", "main:docs").code == 2  # a folder needs --recursive
    assert infra("storage", "cp", "-r", "folder", "main:docs", "--json").data == {"copied": ["docs/a.txt", "docs/sub/b.txt"]}
    assert infra("storage", "cp", "folder/a.txt", "main:").code == 0
    listed = infra("storage", "ls", "--json").data
    assert (listed["prefixes"], [found["key"] for found in listed["objects"]]) == (["docs/"], ["a.txt"])
    assert infra("storage", "cp", "main:docs/sub/b.txt", "main:copy.txt").code == 0
    assert infra("storage", "cp", "main:copy.txt", "back/").code == 0
    assert (project / "back" / "copy.txt").read_text() == "beta"
    assert infra("storage", "cp", "-r", "main:docs/", "all").code == 0
    assert (project / "all" / "sub" / "b.txt").read_text() == "beta"
    assert infra("storage", "url", "main:a.txt", "--json").data["method"] == "GET"
    assert infra("storage", "rm", "-r", "main:docs/", "--yes", "--json").data == {"deleted": 2}
    missing = infra("storage", "cp", "main:nothing", "x")
    assert missing.code == 1
    assert "storage.main" in missing.err
    assert infra("storage", "cp", "a", "b").code == 2


def test_storage_copies_between_buckets(infra: Run, project: Path) -> None:
    configure(project, LOCAL + '[storage.other]\nprovider = "local"\n')
    (project / "a.txt").write_text("alpha")
    infra("storage", "cp", "a.txt", "main:a.txt")
    assert infra("storage", "cp", "main:a.txt", "other:x/").code == 0
    assert infra("storage", "ls", "other:", "-r", "--json").data["objects"][0]["key"] == "x/a.txt"


@pytest.fixture
def handlers(project: Path) -> Path:
    (project / "tasks.py").write_text(
        "import pathlib\n"
        "def handle(value, delivery):\n"
        "    if delivery.body == b'bad':\n        raise ValueError('no good')\n"
        f"    with open({str(project / 'handled')!r}, 'a') as file:\n        file.write(delivery.body.decode() + '\\n')\n"
    )
    configure(project, LOCAL)
    return project / "handled"


def publish(project: Path, *bodies: bytes) -> None:
    from infra import Infra

    with Infra(root=project) as services:
        for body in bodies:
            services.queue("jobs").publish(body)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_consumes_and_dead_letters_come_back(
    start: Callable[..., subprocess.Popen[str]], infra: Run, project: Path, handlers: Path, processes: str
) -> None:
    publish(project, b"one", b"two", b"bad")
    assert infra("queue", "stats", "--json").data["queue.jobs"]["ready"] == 3
    assert {message["body"] for message in infra("queue", "peek", "jobs", "--json").data} == {"one", "two", "bad"}
    command = ("worker", "tasks:handle", "--queue", "jobs", "--max-attempts", "1", "--until-empty", "--processes", processes)
    worker = start(*command)
    _, err = worker.communicate(timeout=150)
    assert worker.returncode == 0, err
    assert sorted(handlers.read_text().split()) == ["one", "two"]
    dead = infra("queue", "peek", "jobs", "--dead", "--json").data
    assert [letter["body"] for letter in dead] == ["bad"]
    assert "no good" in dead[0]["reason"]
    assert infra("queue", "redrive", "jobs", "--json").data == {"redriven": 1}
    assert infra("queue", "purge", "jobs", "--yes", "--json").data == {"deleted": 1}


def test_a_worker_whose_handler_does_not_exist_says_so(start: Callable[..., subprocess.Popen[str]], handlers: Path) -> None:
    worker = start("worker", "tasks:nothing", "--queue", "jobs")
    _, err = worker.communicate(timeout=150)
    assert worker.returncode == 3
    assert "cannot load handler tasks:nothing" in err


def test_llm_commands(infra: Run, project: Path) -> None:
    configure(project, LOCAL)
    said = infra("llm", "ask", "--task", "echo", "hello", "there")
    assert said.code == 0
    assert said.out == "hello there\n"
    assert "no language model was called" in said.err
    assert infra("llm", "ask", "--task", "echo", "hello", "--json").data["content"] == "hello"
    assert infra("llm", "models", "--json").data[0]["model"] == "offline-rules-1"


def test_database_commands(infra: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = project / "cli_sample_app"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text(
        "from sqlalchemy.orm import Mapped\nfrom infra.database import Base, UUIDPrimaryKey, new_metadata\n"
        "class SampleBase(UUIDPrimaryKey, Base):\n    __abstract__ = True\n    metadata = new_metadata()\n"
        "class Agent(SampleBase):\n    __tablename__ = 'agents'\n    name: Mapped[str]\n"
    )
    configure(project, LOCAL + '[infra]\nmodules = ["cli_sample_app"]\n')
    monkeypatch.syspath_prepend(str(project))
    assert infra("db", "check").code == 1
    assert infra("db", "revision", "-m", "first").code == 0
    assert infra("db", "upgrade", "--json").data["database.main"] != []
    assert infra("db", "check").code == 0
    assert infra("db", "current", "--json").data["database.main"]["pending"] == []
    refused = infra("db", "downgrade")
    assert refused.code == 1
    assert "--allow-drop" in refused.err
    assert infra("db", "downgrade", "--allow-drop").code == 0
    assert "sqlite" in infra("db", "stats").out


def test_the_outbox_is_relayed(infra: Run, project: Path) -> None:
    from infra import Infra
    from infra.database import outbox

    configure(project, LOCAL)
    missing = infra("outbox", "stats")
    assert missing.code == 3
    assert "it has no outbox" in missing.err
    with Infra(root=project) as services:
        database = services.database()
        database.create_all(outbox.metadata)
        with database.session() as session:
            outbox.publish(session, queue="jobs", body={"a": 1})
    assert infra("outbox", "stats", "--json").data["pending"] == 1
    assert infra("outbox", "relay", "--once").out == "1 message of database.main handled\n"
    assert infra("queue", "stats", "--json").data["queue.jobs"]["ready"] == 1
