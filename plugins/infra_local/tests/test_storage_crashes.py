"""A process is killed before each system call of a write, in turn; what is found afterwards is the old object or the new one.

The same file is the program that is killed: ``python test_storage_crashes.py FOLDER ACTION DURABILITY``.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.storage import Bucket
from infra_testing.harness import Harness, Place

OLD, NEW = b"old" * 1000, b"new" * 70_000
COUNTED = ("open", "write", "utime", "fsync", "link", "replace", "unlink", "mkdir", "rmdir", "rename")
ACTIONS = {
    "overwrite": lambda bucket: bucket.put("folder/object", NEW, metadata={"is": "new"}),
    "stream": lambda bucket: bucket.put(
        "folder/object", (NEW[start : start + 300] for start in range(0, len(NEW), 300)), metadata={"is": "new"}
    ),
    "create": lambda bucket: bucket.put("fresh/folder/object", NEW, mode="create", metadata={"is": "new"}),
    "delete": lambda bucket: bucket.delete("folder/object"),
    "copy": lambda bucket: bucket.copy("source", "folder/object"),
    "move": lambda bucket: bucket.move("source", "fresh/target"),
}


def open_bucket(folder: Path, durability: str) -> Bucket:
    return Harness("local", {"durability": durability, "chunk_size": 1 << 16}).open("storage", Place(folder))


def killed_before(step: int, folder: Path, action: str, durability: str) -> bool:
    """Run the action in a child that is killed before its call number `step`; False when it ends before that."""
    child = os.fork()
    if child == 0:
        count = 0

        def counting(call):
            def counted(*args, **options):
                nonlocal count
                if count == step:
                    if call.__name__ == "write":
                        call(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                return call(*args, **options)

            return counted

        for name in COUNTED:
            setattr(os, name, counting(getattr(os, name)))
        ACTIONS[action](open_bucket(folder, durability))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def seen(bucket: Bucket) -> dict[str, str]:
    """Each key with what it says it is; content, digest and attributes agree."""
    found = {}
    for info in bucket.list():
        kind = bucket.head(info.key).metadata["is"]
        assert bucket.get(info.key) == {"old": OLD, "new": NEW}[kind]
        found[info.key] = kind
    return found


def debris(folder: Path) -> list[str]:
    """What the driver would have to sweep."""
    root = folder / "storage" / "main"
    entries = [path for path in root.rglob("*") if ".infra" not in path.relative_to(root).parts]
    attributes = {path.name.removeprefix(".infra-attr-") for path in entries if path.name.startswith(".infra-attr-")}
    objects = [path for path in entries if path.is_file() and not path.name.startswith(".infra-")]
    temporaries = [path.name for path in entries if path.name.startswith(".infra-tmp-")]
    orphans = attributes - {f"{path.stat().st_ino:x}" for path in objects}
    empty = [path.name for path in entries if path.is_dir() and not any(path.iterdir())]
    return [*temporaries, *orphans, *empty]


EXPECTED = {
    "overwrite": [{"folder/object": "old", "source": "new"}, {"folder/object": "new", "source": "new"}],
    "stream": [{"folder/object": "old", "source": "new"}, {"folder/object": "new", "source": "new"}],
    "create": [{"folder/object": "old", "source": "new"}, {"folder/object": "old", "source": "new", "fresh/folder/object": "new"}],
    "delete": [{"folder/object": "old", "source": "new"}, {"source": "new"}],
    "copy": [{"folder/object": "old", "source": "new"}, {"folder/object": "new", "source": "new"}],
    "move": [
        {"folder/object": "old", "source": "new"},
        {"folder/object": "old", "source": "new", "fresh/target": "new"},
        {"folder/object": "old", "fresh/target": "new"},
    ],
}


def main(folder: Path, action: str, durability: str) -> None:
    outcomes = []
    step, alive = 0, False
    while not alive:
        with open_bucket(folder, "none") as bucket:
            bucket.delete_many([info.key for info in bucket.list()])
            bucket.put("folder/object", OLD, metadata={"is": "old"})
            bucket.put("source", NEW, metadata={"is": "new"})
        alive = not killed_before(step, folder, action, durability)
        with open_bucket(folder, "none") as bucket:
            state = seen(bucket)
            assert state in EXPECTED[action], (step, state)
            assert not debris(folder), (step, debris(folder))
            outcomes.append(state)
            bucket.put("folder/object", NEW, metadata={"is": "new"})
        step += 1
    assert [state for state in EXPECTED[action] if state not in outcomes] == []
    assert outcomes == sorted(outcomes, key=EXPECTED[action].index)  # once it is new, it stays new
    sys.stdout.write(f"{step}\n")


@pytest.mark.parametrize(("action", "durability"), [*((action, "full") for action in ACTIONS), ("overwrite", "none")])
def test_a_killed_process_leaves_old_or_new_and_nothing_else(tmp_path, action, durability):
    done = subprocess.run([sys.executable, __file__, tmp_path, action, durability], capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8  # system calls


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
