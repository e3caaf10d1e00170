"""Make or refresh the virtual environment: the workspace's distributions editable, everything else as constraints.txt says.

    python tools/setup_venv.py .venv [demo | bench]

Run by the Python that the environment is to have, with nothing but its standard library. `demo` installs what `make demo` needs and
no more, `bench` the peers of the benchmarks on top of everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ("core[database,rich]", "plugins/infra_local")
#: Extras that are compiled against libraries of the system, which a fresh machine lacks: `tools/services.py` installs both.
COMPILED = frozenset({"mysqlclient"})


def works(python: Path) -> bool:
    """Whether the environment's interpreter runs and is new enough; it does not once the Python it was made from is gone."""
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-I", "-c", check], capture_output=True).returncode == 0
    except OSError:
        return False


def members() -> list[str]:
    """All distributions of the workspace, with those of their extras that need no compiler."""
    found: list[str] = []
    for file in [ROOT / "core" / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]:
        known = tomllib.loads(file.read_text())["project"].get("optional-dependencies", {})
        extras = [name for name in known if name not in COMPILED]
        found.append(f"{file.parent.relative_to(ROOT)}[{','.join(extras)}]" if extras else str(file.parent.relative_to(ROOT)))
    return found


def groups(*names: str) -> list[str]:
    """What the dependency groups of the workspace name."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [package for name in names for package in known[name]]


def main() -> None:
    """Bring the environment up to date; what is installed already is left as it is."""
    folder, purpose = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "ready"
    further = {"demo": (), "ready": ("dev",), "bench": ("dev", "bench")}[purpose]
    python = folder / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONNOUSERSITE": "1", "PIP_REQUIRE_VIRTUALENV": "1"}

    def pip(*arguments: str) -> None:
        command = [str(python), "-I", "-m", "pip", "install", "-qq", "-c", "constraints.txt", *arguments]
        if subprocess.run(command, cwd=ROOT, env=environment).returncode:
            raise SystemExit("set-up failed: " + " ".join(command))

    if not works(python):
        print(f"making {folder} with Python {sys.version.split()[0]}", flush=True)
        venv.create(folder, clear=True, with_pip=True, symlinks=True)
    wanted = list(DEMO) if purpose == "demo" else members()
    print("installing " + ", ".join(name.partition("[")[0] for name in wanted), flush=True)
    pip("hatchling", "editables")
    editable = [part for name in wanted for part in ("-e", name)]
    pip("--no-build-isolation", *editable, *groups(*further))
    for stamp in ("demo", "ready", "bench"):
        (folder / f".{stamp}").touch()
        if stamp == purpose:
            break


if __name__ == "__main__":
    main()
