"""Start-up.

Whole processes, from their start to their exit, byte code warm. The budgets of `import infra` are over bare Python; `Infra()` has all
installed plugins and five configured resources and opens none.
"""

from __future__ import annotations

from pathlib import Path

from harness import ROOT, Bench, Contender, process

FIVE = """
[database.main]
provider = "sqlite"
[storage.main]
provider = "local"
[queue.main]
provider = "sqlite"
[cache.main]
provider = "memory"
[llm.main]
provider = "offline"
"""
PROVIDERS = [str(ROOT / ".venv" / "bin" / "infra"), "providers"]


def measure(bench: Bench) -> None:
    """Imports, the kernel's construction, and the command that lists providers."""
    bench.packages += ["pydantic-settings", "click", "pluggy", "importlib-metadata"]
    folder = bench.folder / "host"
    folder.mkdir()
    (folder / "infra.toml").write_text(FIVE)

    def code(name: str, text: str, budget: float | None = None, where: Path = bench.folder) -> Contender:
        return Contender(name, process(code=text, folder=where), budget)

    bench.compare_processes(
        "import",
        code("bare Python", "pass"),
        code("import infra", "import infra"),
        code("import click", "import click"),
        code("import pydantic_settings", "import pydantic_settings"),
    )
    bench.compare_processes(
        "the kernel, five resources configured",
        code("import pydantic_settings", "import pydantic_settings"),
        code("Infra()", "from infra import Infra; Infra()", 1.3, folder),
        code("from infra import Infra", "from infra import Infra", None, folder),
    )
    bench.compare_processes(
        "listing the providers",
        code("import click", "import click"),
        Contender("infra providers", process(*PROVIDERS, folder=folder), 2.0),
    )
    bare, ours = (result.spread("cpu")[0] * 1000 for result in bench.results[:2])
    bench.absolute("`import infra` over bare Python", ours - bare, 15, "ms of CPU")
