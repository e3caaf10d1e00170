"""The checks of layers and files find what they are there for."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parent.parent


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


layers = load("check_layers")
tree = load("check_tree")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("cache/_async.py", "from infra.database import Database"),
        ("cache/_async.py", "from infra import database"),
        ("storage/model.py", "import infra.queue.model"),
        ("runtime/aio/locks.py", "from infra.kernel.core import Kernel"),
        ("kernel/core.py", "from infra.cli import main"),
        ("kernel/core.py", "from infra.cache import Cache"),
        ("kernel/core.py", "import infra_local"),
        ("database/_async/session.py", "from infra.queue.model import Message"),
        ("database/outbox.py", "from infra.queue.errors import QueueError"),
        ("llm/caching.py", "from ..storage import Bucket"),
        ("resource/_async.py", "if TYPE_CHECKING:\n    from infra.web import App"),
        ("errors.py", "from infra.plugin import Provider"),
        ("surprise/model.py", "import os"),
    ],
)
def test_a_room_may_not_reach_into_another(tmp_path: Path, path: str, line: str) -> None:
    file = tmp_path / "core" / "src" / "infra" / path
    file.parent.mkdir(parents=True)
    file.write_text(line + "\n")
    assert len(list(layers.check_kernel(tmp_path))) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("llm/caching.py", "from infra.cache import Cache"),
        ("database/outbox/_async.py", "from infra.queue.model import Message"),
        ("kernel/services/_sync.py", "def cache(self):\n    from infra.cache import Cache"),
        (
            "cache/_async/cache.py",
            "from infra.cache.model import CacheItem\nfrom infra.runtime.aio import Lock\nfrom .access import Access",
        ),
        ("kernel/core.py", "if TYPE_CHECKING:\n    from infra.cache import Cache"),
        ("cli/worker.py", "from infra.queue import Queue\nfrom infra import Infra"),
        ("web/health.py", "from infra.kernel.health import HealthReport"),
    ],
)
def test_what_is_written_down_is_allowed(tmp_path: Path, path: str, line: str) -> None:
    file = tmp_path / "core" / "src" / "infra" / path
    file.parent.mkdir(parents=True)
    file.write_text(line + "\n")
    assert list(layers.check_kernel(tmp_path)) == []


def test_a_plugin_knows_the_kernel_alone(tmp_path: Path) -> None:
    file = tmp_path / "plugins" / "infra_x" / "src" / "infra_x" / "driver.py"
    file.parent.mkdir(parents=True)
    file.write_text("import infra_local\nfrom infra.cli import main\nfrom infra.plugin import Provider\nfrom infra_x.settings import S\n")
    assert [breach.split(": ")[0].rpartition(":")[2] for breach in layers.check_plugins(tmp_path)] == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("long.py", "x = 1\n" * 801),
        ("utils.py", "x = 1\n"),
        ("a.md", "pip install -i https://py" + "pi.org/simple\n"),
        ("package-lock.json", '"https://registry.np' + 'mjs.org/x"\n'),
        ("a.toml", 'path = "/' + 'root/x"\n'),
        ("b.py", 'path = "/' + 'home/someone/x"\n'),
    ],
)
def test_files_that_are_too_long_or_of_one_machine_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    (tmp_path / name).write_text(text)
    assert len(list(tree.breaches(tmp_path / name))) == 1


def test_a_long_file_is_named_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    (tmp_path / "long.py").write_text("x = 1\n" * 501)
    assert list(tree.breaches(tmp_path / "long.py")) == []
    assert "long.py: 501 lines" in capsys.readouterr().out


def test_an_ordinary_file_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    (tmp_path / "driver.py").write_text('x = "/homes/and/worker/roots"\n' * 500)
    assert list(tree.breaches(tmp_path / "driver.py")) == []


def test_set_up_refuses_no_python_with_a_clear_message(tmp_path: Path) -> None:
    done = subprocess.run(["/bin/sh", str(TOOLS / "find_python.sh")], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Python 3.11 or later" in done.stderr


def test_set_up_names_a_python_that_can_make_environments(tmp_path: Path) -> None:
    old = tmp_path / "python3.13"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    bare = tmp_path / "python3.12"
    bare.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexit 0\n')
    bare.chmod(0o755)
    search = ["/bin/sh", str(TOOLS / "find_python.sh")]
    done = subprocess.run(search, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "python3.12-venv" in done.stderr
    (tmp_path / "python3").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    done = subprocess.run(search, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "python3")
