"""Install the servers that the tests run against, where they are missing; where that cannot be done, say what to install.

    python tools/services.py [--quietly]

Debian's packages when we are root on Debian or a relative; the LLM server from npm into the ignored folder .services; and what Python
packages are compiled against, with them, into the environment of the Python that runs this. `--quietly` does the same before a test run:
it says nothing where nothing is missing, and what it cannot install is no failure, since the run's own table names it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from infra_testing.services import SERVERS, AimockServer, Server
from infra_testing.services.aimock import PACKAGE

ROOT = Path(__file__).resolve().parent.parent
POLICY = Path("/usr/sbin/policy-rc.d")
#: Python packages without a wheel, and what they are compiled with: a program to look for, and Debian's package that has it.
COMPILED = {"mysqlclient": {"mariadb_config": "libmariadb-dev", "pkg-config": "pkg-config", "gcc": "gcc"}}


def missing(kinds: Sequence[type[Server]]) -> list[type[Server]]:
    """Those of these servers that cannot be started here; not those that a machine may lack."""
    return [kind for kind in kinds if not kind.optional and not kind.available()]


def installed(name: str) -> str | None:
    """The version of a Python package of this environment."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def compilers(name: str) -> list[str]:
    """Debian's packages that are missing to compile that Python package."""
    wanted = [package for program, package in COMPILED[name].items() if not shutil.which(program)]
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        wanted.append("python3-dev")
    return wanted


@contextmanager
def nothing_started() -> Iterator[None]:
    """Keep packages from starting their services while they are installed."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def install_packages(names: list[str]) -> None:
    """Install Debian's packages."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with nothing_started():
        subprocess.run(["apt-get", "update", "-q"], env=environment, check=True)
        subprocess.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *names], env=environment, check=True)


def install_aimock() -> None:
    """Install the LLM server from npm, its version pinned."""
    folder = ROOT / ".services" / "node"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    command = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--no-package-lock",
        "--ignore-scripts",
        "--loglevel=error",
        PACKAGE,
    ]
    subprocess.run(command, cwd=folder, check=True)


def install(kinds: Sequence[type[Server]]) -> list[type[Server]]:
    """Install what is missing of these servers, where that can be done; gives what is missing still."""
    packages = [kind.remedy for kind in missing(kinds) if kind.packaged]
    if AimockServer in missing(kinds):
        packages += [name for name, program in (("nodejs", "node"), ("npm", "npm")) if not shutil.which(program)]
    try:
        if packages and os.geteuid() == 0 and shutil.which("apt-get"):
            print("installing " + ", ".join(packages), flush=True)
            install_packages(packages)
        if AimockServer in missing(kinds) and shutil.which("npm"):
            print(f"installing {PACKAGE}", flush=True)
            install_aimock()
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(error.cmd)}", flush=True)  # it has said why
    return missing(kinds)


def compile_package(name: str) -> None:
    """Compile a Python package into this environment, where that can be done."""
    pip = [sys.executable, "-I", "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input", "-c", "constraints.txt", name]
    try:
        wanted = compilers(name)
        if wanted and os.geteuid() == 0 and shutil.which("apt-get"):
            print("installing " + ", ".join(wanted), flush=True)
            install_packages(wanted)
        if not compilers(name):
            print(f"compiling {name}", flush=True)
            subprocess.run(pip, cwd=ROOT, check=True)
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(error.cmd)}", flush=True)  # it has said why


def main(quietly: bool) -> int:
    """Install what is missing, then print the table; gives the exit code."""
    before = [*missing(SERVERS), *(name for name in COMPILED if installed(name) is None)]
    if quietly and not before:
        return 0
    left: list[object] = list(install(SERVERS))
    for name in COMPILED:
        if installed(name) is None:
            compile_package(name)
        if installed(name) is None:
            left.append(name)
    if quietly:
        return 0
    for kind in SERVERS:
        found = kind.available()
        lack = "not here (optional)" if kind.optional else "missing"
        print(f"  {kind.name:<11} {found.version or f'{lack}: {found.reason}; install {found.remedy}'}")
    for name in COMPILED:
        print(f"  {name:<11} {installed(name) or 'missing: install ' + ', '.join([*compilers(name), name])}")
    if left:
        print("install what is missing with this machine's package manager, then run `make services` again", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main("--quietly" in sys.argv[1:]))
