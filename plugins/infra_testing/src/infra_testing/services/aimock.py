"""A private server of the OpenAI protocol with scripted answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra_testing.services.programs import find_program, version_of
from infra_testing.services.server import MissingServiceError, Server
from infra_testing.services.wire import http_status

PACKAGE = "@copilotkit/aimock@1.43.0"
#: Where `make services` puts it, from the working folder upwards.
FOLDER = Path(".services", "node", "node_modules", "@copilotkit", "aimock")


def script() -> Path:
    """The server's program for Node.js.

    Raises:
        MissingServiceError: It is not installed.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        found = folder / FOLDER / "dist" / "cli.js"
        if found.exists():
            return found
    raise MissingServiceError(f"the npm package {PACKAGE} is not installed")


class AimockServer(Server):
    """aimock: chat completions, responses, streams and embeddings that follow fixtures.

    Args:
        fixtures: What to answer, such as ``[{"match": {"userMessage": "hi"}, "response": {"content": "hello"}}]``.
        options: Further command-line options, such as ``("--latency", "20")``.
    """

    name = "aimock"
    remedy = f"{PACKAGE} from npm"

    def __init__(self, fixtures: Sequence[Mapping[str, Any]] = (), options: Sequence[str] = ()) -> None:
        super().__init__()
        self.fixtures = [*fixtures, {"match": {}, "response": {"content": "Hello from the test server."}}]
        self.options = list(options)

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed package."""
        version_of(find_program("node"), "--version")
        return str(json.loads((script().parent.parent / "package.json").read_text())["version"])

    def prepare(self) -> None:
        """Write the fixtures."""
        (self.root / "fixtures.json").write_text(json.dumps({"fixtures": self.fixtures}))

    def command(self) -> list[str]:
        """The server in the foreground."""
        where = ["--port", str(self.port), "--host", "127.0.0.1", "--fixtures", str(self.root / "fixtures.json")]
        return [str(find_program("node")), str(script()), *where, *self.options]

    def ping(self) -> bool:
        """Answers its health check."""
        return http_status(self.port, "/health") == 200

    @property
    def url(self) -> str:
        """The base URL for clients of OpenAI."""
        return f"http://127.0.0.1:{self.port}/v1"
