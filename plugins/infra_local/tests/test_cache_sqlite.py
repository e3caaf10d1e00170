"""The SQLite cache survives its processes, and refuses places where it cannot keep its word."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.cache import Cache, CacheOperationError
from infra.errors import ConfigurationError, ErrorCode
from infra_local.cache import sqlite as provider
from infra_local.filesystem import network_file_system
from infra_testing.harness import Harness, Place

SQLITE = Harness("sqlite", plugin="infra_local")
PATIENCE = 60.0
MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /srv rw shared:2 - nfs4 server:/export rw
41 40 8:2 / /srv/local rw - xfs /dev/sdb1 rw
42 22 0:36 / /mnt/my\\040share rw - cifs //host/share rw
43 22 0:37 / /home/me/remote rw - fuse.sshfs me@host: rw
"""


def write_forever(data_dir: Path) -> None:
    cache: Cache = SQLITE.open("cache", Place(data_dir))
    turn = 0
    while True:
        turn += 1
        cache.set_many({"left": [turn, "x" * 5000], "right": [turn, "y" * 5000]}, ttl=None)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache/app.db", None),
        ("/srv/app/cache.db", "nfs4"),
        ("/srv/local/cache.db", None),
        ("/srvlocal/cache.db", None),
        ("/mnt/my share/cache.db", "cifs"),
        ("/home/me/remote/cache.db", "fuse.sshfs"),
    ],
)
def test_network_file_systems_are_told_from_local_ones(path: str, kind: str | None, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert network_file_system(Path(path), mounts) == kind


def test_a_file_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "network_file_system", lambda _path: "nfs4")
    with pytest.raises(ConfigurationError, match="nfs4") as caught:
        SQLITE.open("cache", Place(tmp_path))
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="folder"):
        SQLITE.open("cache", Place(tmp_path), path=tmp_path / "file" / "below" / "cache.db")


def test_a_writer_killed_midway_leaves_whole_writes_and_a_working_file(tmp_path: Path) -> None:
    cache: Cache = SQLITE.open("cache", Place(tmp_path))
    last = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, __file__, str(tmp_path)]) as writer:
            until = time.monotonic() + PATIENCE
            while ((cache.get("left") or [0])[0]) < last + 20:
                assert time.monotonic() < until
                assert writer.poll() is None
                time.sleep(0.01)
            writer.kill()
        pair = cache.get_many(["left", "right"])
        assert pair["left"][0] == pair["right"][0] > last
        last = pair["left"][0]
        assert cache.set("other", last)
        assert cache.get("other") == last
    cache.close()
    with sqlite3.connect(tmp_path / "cache-main.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_entries_outlive_their_process_and_expired_ones_leave_the_file(tmp_path: Path) -> None:
    first: Cache = SQLITE.open("cache", Place(tmp_path))
    first.set("key", "kept", ttl=None)
    first.set_many({f"short-{number}": number for number in range(600)}, ttl=0.01)
    first.close()
    second: Cache = SQLITE.open("cache", Place(tmp_path))
    assert second.get("key") == "kept"
    until = time.monotonic() + PATIENCE
    while second.exists("short-599"):
        assert time.monotonic() < until
    second.set_many({f"long-{number}": number for number in range(600)}, ttl=None)
    connection = second.unwrap(sqlite3.Connection)
    assert connection.execute("SELECT count(*) FROM entries WHERE ends < 9223372036854775807").fetchone() == (0,)
    second.close()


def test_processes_that_write_little_sweep_together(tmp_path: Path) -> None:
    for run in range(8):
        cache: Cache = SQLITE.open("cache", Place(tmp_path))
        cache.set_many({f"run {run} {number}": number for number in range(400)}, ttl=0.001)
        cache.close()
    with sqlite3.connect(tmp_path / "cache-main.db") as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone()[0] < 1000
    connection.close()


def test_the_file_keeps_to_its_bound_and_loses_what_was_written_first(tmp_path: Path) -> None:
    cache: Cache = SQLITE.open("cache", Place(tmp_path), max_bytes=1 << 20)
    for number in range(600):
        assert cache.set(f"key-{number}", b"x" * 10_000, ttl=None)
    assert cache.get("key-599") is not None
    assert cache.get("key-0") is None
    connection = cache.unwrap(sqlite3.Connection)
    assert connection.execute("SELECT sum(length(value)) FROM entries").fetchone()[0] <= 1 << 20
    cache.close()


def test_a_file_that_is_no_database_is_an_error_that_says_so(tmp_path: Path) -> None:
    cache: Cache = SQLITE.open("cache", Place(tmp_path))
    cache.set("key", 1)
    cache.close()
    for file in tmp_path.glob("cache-main.db*"):
        file.write_bytes(b"this is no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        SQLITE.open("cache", Place(tmp_path))
    driver = provider.SQLiteCacheDriver.__new__(provider.SQLiteCacheDriver)
    assert driver.classify(caught.value) is ErrorCode.DATA_LOSS


def test_a_table_that_is_gone_raises_instead_of_missing(tmp_path: Path) -> None:
    cache: Cache = SQLITE.open("cache", Place(tmp_path))
    cache.set("key", 1)
    cache.unwrap(sqlite3.Connection).execute("DROP TABLE entries")
    with pytest.raises(CacheOperationError, match="entries") as caught:
        cache.get("key")
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert not cache.stats().degraded
    cache.close()


if __name__ == "__main__":
    write_forever(Path(sys.argv[1]))
