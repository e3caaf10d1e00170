"""Run `infra demo` on private servers by settings alone: start them, write infra.toml, run the demo twice, stop them.

    python tools/demo_servers.py [--with mariadb,sqs] [--keep] [arguments of infra demo]

Missing servers are installed first where `make services` could. The servers listen on free ports of 127.0.0.1, have their data in a
folder of their own, and end with this program, however it ends. The demo is the same program as ever; only the settings differ.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from services import install

from infra_testing.run import current_run
from infra_testing.services import (
    AimockServer,
    MariaDBServer,
    MotoServer,
    PostgresServer,
    RabbitMQServer,
    RcloneServer,
    RedisServer,
    Server,
    ServiceError,
)

#: What the LLM server says of every document: it follows a script, and does not pretend otherwise.
ANSWER = "A scripted answer of the private LLM server, the same for every document."
MODEL = "scripted-by-aimock"
BUCKET = DATABASE = "demo"
#: Variables that the demo is left with; every other could set something that infra.toml is to set, or send its calls through a proxy.
KEPT = ("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES", "TMPDIR", "TZ")
KEPT_GROUPS = ("LC_", "LD_", "DYLD_", "PYTHON")
GRACE = 30.0  # seconds that a demo may take to stop when asked to


@dataclass(frozen=True)
class Choice:
    """A server for one of the demo's resources.

    Args:
        capability: The resource is its `demo`.
        kind: The server; two resources on the same kind share one.
    """

    capability: str
    kind: type[Server]


#: By the names that --with takes. The first choice of a capability is its default.
CHOICES = {
    "postgres": Choice("database", PostgresServer),
    "mariadb": Choice("database", MariaDBServer),
    "rclone": Choice("storage", RcloneServer),
    "rabbitmq": Choice("queue", RabbitMQServer),
    "sqs": Choice("queue", MotoServer),
    "redis-streams": Choice("queue", RedisServer),
    "redis": Choice("cache", RedisServer),
    "aimock": Choice("llm", AimockServer),
}


def chosen(wanted: Sequence[str]) -> dict[str, Choice]:
    """One choice for each capability, in the order of the job; by name.

    Raises:
        ValueError: A name is unknown, or two are for the same capability.
    """
    found: dict[str, str] = {}
    for name in wanted:
        if name not in CHOICES:
            raise ValueError(f"there is no choice {name!r}; there are {', '.join(CHOICES)}")
        capability = CHOICES[name].capability
        if found.setdefault(capability, name) != name:
            raise ValueError(f"{found[capability]} and {name} are both for the {capability}: choose one")
    for name, choice in CHOICES.items():
        found.setdefault(choice.capability, name)
    return {found[choice.capability]: CHOICES[found[choice.capability]] for choice in CHOICES.values()}


def make(kind: type[Server]) -> Server:
    """A server of this kind, not yet started."""
    return AimockServer([{"match": {}, "response": {"content": ANSWER}}]) if kind is AimockServer else kind()


def settings_of(name: str, server: Server, folder: Path) -> dict[str, str]:
    """What infra.toml says of a resource on this server. Makes what an operator makes: the database, the bucket, files for the secrets."""

    def secret(file: str, content: str) -> str:
        path = folder / file
        path.write_text(content)
        path.chmod(0o600)
        return f"file:{path}"

    match server:
        case PostgresServer() | MariaDBServer():
            return {"url": server.database(DATABASE)}
        case RcloneServer():
            (server.data / BUCKET).mkdir()
            keys = {"access_key_id": server.access_key, "secret_access_key": secret("s3-secret", server.secret_key)}
            return {"provider": "s3", "endpoint": server.url, "region": server.region, "bucket": BUCKET, **keys}
        case RabbitMQServer():
            return {"url": f"amqp://127.0.0.1:{server.port}"}
        case MotoServer():
            keys = {"access_key_id": server.access_key, "secret_access_key": secret("sqs-secret", server.secret_key)}
            # A long poll cannot be broken off: closing waits for its end.
            return {"provider": "sqs", "endpoint": server.url, "region": server.region, "wait": "1s", **keys}
        case RedisServer():
            return {"url": server.url, **({"provider": "redis"} if name == "redis-streams" else {})}
        case AimockServer():
            key = {"api_key": secret("llm-key", "any-key")}
            return {"provider": "openai", "base_url": server.url, "model": MODEL, **key}
        case _:
            raise TypeError(f"no settings are known for {server.name}")


def write_settings(folder: Path, settings: Mapping[str, Mapping[str, str]]) -> str:
    """Write infra.toml; gives its text."""
    sections = [f"[{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items()) for name, values in settings.items()]
    text = "\n".join(sections)
    (folder / "infra.toml").write_text(text)
    return text


def run_demo(arguments: Sequence[str]) -> int:
    """Run `infra demo` to its end, in a process group of its own: Ctrl-C reaches us alone, and we hand it on once."""
    environment = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_GROUPS)}
    demo = subprocess.Popen([sys.executable, "-m", "infra.cli", "demo", *arguments], env=environment, process_group=0)
    try:
        return demo.wait()
    except BaseException:
        demo.send_signal(signal.SIGINT)
        try:
            demo.wait(GRACE)
        finally:
            demo.kill()
            demo.wait()
        raise


@contextlib.contextmanager
def ended_by_signals() -> Generator[None]:
    """Let SIGTERM and SIGHUP end us as Ctrl-C does: with everything put away."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(choices: Mapping[str, Choice], arguments: Sequence[str], keep: bool, out: TextIO) -> int:
    """Start the servers, run the demo on them twice, and stop them.

    Args:
        keep: Leave them running afterwards, until Ctrl-C.
        out: Where to say what is going on.
    """

    def say(text: str = "") -> None:
        print(text, file=out, flush=True)

    with ExitStack() as stack:
        stack.callback(current_run().close)
        folder = current_run().prepare() / "demo"
        folder.mkdir(mode=0o700)
        servers: dict[type[Server], Server] = {}
        settings: dict[str, Mapping[str, str]] = {}
        users: dict[type[Server], list[str]] = {}
        for choice in choices.values():
            users.setdefault(choice.kind, []).append(f"{choice.capability}.demo")
        say(f"{'SERVER':<10}{'VERSION':<10}{'ADDRESS':<17}{'STARTED IN':<12}FOR")
        for name, choice in choices.items():
            if choice.kind not in servers:
                server = servers[choice.kind] = stack.enter_context(make(choice.kind))
                address, started = f"127.0.0.1:{server.port}", f"{server.seconds:.1f} s"
                say(f"{server.name:<10}{server.version:<10}{address:<17}{started:<12}{', '.join(users[choice.kind])}")
            settings[f"{choice.capability}.demo"] = settings_of(name, servers[choice.kind], folder)
        say(f"\n{folder / 'infra.toml'}\n")
        say("".join(f"    {line}".rstrip() + "\n" for line in write_settings(folder, settings).splitlines()))
        code = 0
        for number in ("first", "second"):
            say(f"--- infra demo, the {number} time")
            code = run_demo(["--root", str(folder), *arguments])
            if code:
                break
            say()
        if keep:
            say("the servers stay until Ctrl-C; meanwhile, in another terminal:")
            say(f"    {Path(sys.executable).parent / 'infra'} --root {folder} health")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    say("the servers are stopped and their data is deleted")
    return code


def main() -> int:
    """Read the command line; gives the exit code, which is the demo's when that is not 0."""
    parser = argparse.ArgumentParser(
        prog="make demo-servers",
        usage='%(prog)s ARGS="[--with NAMES] [--keep] [arguments of infra demo]"',
        description="Run `infra demo` on private servers: start them, write infra.toml, run it twice, stop them.",
        epilog="Everything else goes to `infra demo`, such as --workers 2, --limit 5 or a folder with documents.",
        allow_abbrev=False,
    )
    parser.add_argument("--with", dest="wanted", default="", metavar="NAMES", help=f"servers, by commas: {', '.join(CHOICES)}")
    parser.add_argument("--keep", action="store_true", help="leave the servers running until Ctrl-C")
    options, arguments = parser.parse_known_args()
    try:
        choices = chosen([name for name in options.wanted.split(",") if name])
    except ValueError as error:
        parser.error(str(error))
    out = sys.stderr if "--json" in arguments else sys.stdout
    missing = install(list(dict.fromkeys(choice.kind for choice in choices.values())))
    for kind in missing:
        found = kind.available()
        print(f"demo-servers: {kind.name} is missing: {found.reason}; install {found.remedy}, then start again", file=sys.stderr)
    if missing:
        return 3
    try:
        with ended_by_signals():
            return run(choices, arguments, options.keep, out)
    except ServiceError as error:
        print(f"demo-servers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo-servers: stopped; these servers and their data are deleted, though: the next start begins anew", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
