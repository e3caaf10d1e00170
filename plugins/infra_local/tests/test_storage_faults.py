"""What a disk, other programs and attackers do to the local provider."""

# ruff: noqa: PTH104, PTH108, PTH208, PTH211, PT017, B023

import errno
import gc
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.errors import ClosedError, ErrorCode
from infra.storage import Bucket, IntegrityError, ObjectNotFoundError, StorageError
from infra_local.storage.names import RESERVED
from infra_testing.harness import Harness, Place


def open_bucket(folder: Path, **settings: object) -> Bucket:
    return Harness("local", settings).open("storage", Place(folder))


def root_of(bucket: Bucket) -> Path:
    return bucket.unwrap(Path)


def names_in(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name != RESERVED and not name.startswith(".infra-attr-"))


@pytest.fixture
def bucket(tmp_path):
    with open_bucket(tmp_path) as bucket:
        yield bucket


# -- the disk


@pytest.mark.parametrize("call", ["write", "fsync", "utime", "link", "replace", "open"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failing_call_leaves_the_old_object(bucket, monkeypatch, call, code):
    old = bucket.put("folder/object", b"old", metadata={"is": "old"})
    real = getattr(os, call)
    failures = 0
    for step in range(12):
        count = 0

        def failing(*args, **options):
            nonlocal count, failures
            count += 1
            if count == step + 1:
                failures += 1
                raise OSError(code, os.strerror(code))
            return real(*args, **options)

        for key, mode in (("folder/object", old.etag), ("new/object", "create")):
            count = 0
            with monkeypatch.context() as patch:
                patch.setattr(os, call, failing)
                try:
                    info = bucket.put(key, b"new" * 1000, mode=mode, metadata={"is": "new"})
                except StorageError as error:
                    assert error.code == ErrorCode.UNAVAILABLE
                    assert os.strerror(code) in error.message
                    info = None
            if bucket.exists(key):
                kind = bucket.head(key).metadata["is"]
                assert bucket.get(key) == {"old": b"old", "new": b"new" * 1000}[kind]
            if info is not None:
                assert bucket.head(key) == info
        bucket.delete("new/object")
        old = bucket.put("folder/object", b"old", metadata={"is": "old"})
        assert names_in(root_of(bucket)) == ["folder"]
        assert names_in(root_of(bucket) / "folder") == ["object"]
        assert len(os.listdir(root_of(bucket) / "folder")) == 2
    assert failures


def test_a_write_is_acknowledged_only_after_its_file_and_folder_are_synced(tmp_path, monkeypatch):
    real = os.fsync
    synced = []

    def noting(fd):
        synced.append(Path(f"/proc/self/fd/{fd}").readlink())
        return real(fd)

    monkeypatch.setattr(os, "fsync", noting)
    for durability, files, folders in (("full", 2, 3), ("file", 2, 0), ("none", 0, 0)):
        with open_bucket(tmp_path / durability, durability=durability) as bucket:
            synced.clear()
            bucket.put("a/b/object", b"data")
            assert len([path for path in synced if path.name.startswith(".infra-")]) == files
            assert len([path for path in synced if path.is_dir()]) == folders  # those with new entries: the root, a, a/b
            if durability == "full":
                assert synced[-1] == root_of(bucket) / "a/b"
                synced.clear()
                bucket.delete("a/b/object")
                assert len(synced) == 1


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path):
    program = """if True:
        import resource, signal, sys
        from pathlib import Path
        from infra.storage import StorageError
        from infra_testing.harness import Harness, Place
        bucket = Harness("local").open("storage", Place(Path(sys.argv[1])))
        bucket.put("object", b"old")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        for source in (b"x" * 2_000_000, [b"x" * 100_000] * 30):
            for key in ("object", "new/object"):
                try:
                    bucket.put(key, source)
                except StorageError as error:
                    assert error.code == "UNAVAILABLE", error
                    assert error.retryable
                else:
                    raise AssertionError("it was stored")
        assert bucket.get("object") == b"old"
        assert [info.key for info in bucket.list()] == ["object"]
        bucket.put("small", b"x")
        bucket.close()
    """
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert names_in(tmp_path / "storage" / "main") == ["object", "small"]
    assert len(list((tmp_path / "storage" / "main").glob(".infra-attr-*"))) == 2


def test_damaged_bytes_are_not_handed_out(bucket):
    bucket.put("object", b"good" * 1000)
    path = root_of(bucket) / "object"
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"evil")
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    with pytest.raises(IntegrityError) as caught:
        bucket.get("object")
    assert caught.value.code == ErrorCode.DATA_LOSS
    with pytest.raises(IntegrityError):
        list(bucket.open("object"))
    assert bucket.get_range("object", 4, 4) == b"good"


def test_a_file_cut_short_while_it_is_read_is_not_taken_for_whole(bucket):
    bucket.put("object", b"x" * 10_000)
    with bucket.open("object") as reader:
        reader.read(10)
        os.truncate(root_of(bucket) / "object", 100)
        with pytest.raises(IntegrityError, match="early"):
            reader.read()


# -- other programs


def test_files_of_other_programs_are_objects_without_attributes(bucket):
    root = root_of(bucket)
    (root / "folder").mkdir()
    (root / "folder" / "picture.png").write_bytes(b"theirs")
    info = bucket.head("folder/picture.png")
    assert (info.size, info.content_type, dict(info.metadata), info.sha256) == (6, None, {}, None)
    assert bucket.get("folder/picture.png") == b"theirs"
    copied = bucket.copy("folder/picture.png", "copy")
    assert copied.content_type == "application/octet-stream"
    bucket.put("folder/picture.png", b"ours", mode=info.etag)
    assert bucket.head("folder/picture.png").content_type == "image/png"


def test_a_change_by_another_program_is_a_new_version_without_attributes(bucket):
    info = bucket.put("object", b"ours", metadata={"a": "b"})
    (root_of(bucket) / "object").write_bytes(b"theirs")
    changed = bucket.head("object")
    assert changed.etag != info.etag
    assert (dict(changed.metadata), changed.sha256) == ({}, None)
    assert bucket.get("object") == b"theirs"


def test_foreign_names_are_listed_and_flagged(bucket):
    root = root_of(bucket)
    bucket.put("fine", b"x")
    for name in (b"back\\slash", b"new\nline", b"\xff\xfe", b"\x1b[31mred"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(b"x")
    (root / "dir\twith tab").mkdir()
    (root / "dir\twith tab" / "inside").write_bytes(b"x")
    (root / "empty").mkdir()
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("fine")
    found = {info.key: info.foreign for info in bucket.list(page_size=2)}
    assert found.pop("fine") is False
    assert found == dict.fromkeys(("back\\slash", "new\nline", "\udcff\udcfe", "\x1b[31mred", "dir\twith tab/inside"), True)
    page = bucket.list(delimiter="/").page()
    assert list(page.prefixes) == ["dir\twith tab/"]


def test_what_is_no_file_is_refused(bucket, tmp_path):
    root = root_of(bucket)
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    for action in (bucket.get, bucket.head, lambda key: bucket.put(key, b"x"), bucket.delete):
        with pytest.raises(StorageError) as caught:
            action("pipe")
        assert caught.value.code == ErrorCode.PERMISSION_DENIED
    with pytest.raises(ObjectNotFoundError):
        bucket.get("folder")
    bucket.put("folder", b"an empty folder gives way")
    assert bucket.get("folder") == b"an empty folder gives way"


# -- attackers


def test_no_link_is_followed(bucket, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = root_of(bucket)
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "dangling").symlink_to(outside / "planted")
    for key in ("folder/secret", "file", "dangling", "folder/planted", "folder/deeper/planted"):
        for action in (
            bucket.get,
            bucket.head,
            lambda key: bucket.put(key, b"evil"),
            lambda key: bucket.put(key, b"evil", mode="create"),
            lambda key: bucket.copy(key, "stolen"),
            bucket.delete,
        ):
            with pytest.raises(StorageError) as caught:
                action(key)
            assert caught.value.code == ErrorCode.PERMISSION_DENIED
            assert "link" in caught.value.message
    assert list(bucket.list()) == list(bucket.list("folder/")) == []
    assert bucket.list(delimiter="/").page().prefixes == ()
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_folder_that_turns_into_a_link_and_back_never_leads_outside(bucket, tmp_path):
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "object").write_bytes(b"secret")
    root = root_of(bucket)
    bucket.put("folder/inner/object", b"ours")
    done = threading.Event()

    def swap():
        folder, away = root / "folder", root / ".infra" / "away"
        while not done.is_set():
            try:
                os.rename(folder, away)
                os.symlink(outside, folder)
                os.unlink(folder)
                os.rename(away, folder)
            except OSError:  # the driver has made a folder meanwhile, or removed it
                shutil.rmtree(away, ignore_errors=True)

    attacker = threading.Thread(target=swap)
    attacker.start()
    dice = random.Random(5)
    try:
        for number in range(600):
            action = dice.choice(["get", "put", "list", "delete", "create"])
            try:
                if action == "get":
                    assert bucket.get("folder/inner/object") in (b"ours", b"ours too")
                elif action == "put":
                    bucket.put("folder/inner/object", b"ours too")
                elif action == "list":
                    assert all(info.size != 6 for info in bucket.list("folder/inner/"))
                elif action == "delete":
                    bucket.delete("folder/inner/planted")
                else:
                    bucket.put(f"folder/inner/planted-{number % 5}", b"planted", mode="create")
            except StorageError:
                continue
    finally:
        done.set()
        attacker.join()
    assert sorted(path.relative_to(outside).as_posix() for path in outside.rglob("*")) == ["inner", "inner/object"]
    assert (outside / "inner" / "object").read_bytes() == b"secret"


def test_keys_made_at_random_stay_inside(bucket, tmp_path):
    dice = random.Random(7)
    parts = ["..", ".", "", "a", "b", "...", "\\", "%2e%2e", "\0", "..\\", ".infra", "~", "é", "/", "etc", "passwd", " "]
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(root_of(bucket))}
    stored = {}
    for _ in range(400):
        key = dice.choice(["", "/", "../"]) + "/".join(dice.choices(parts, k=dice.randint(1, 5)))
        try:
            bucket.put(key, key.encode())
        except StorageError as error:
            assert error.code in (ErrorCode.INVALID_ARGUMENT, ErrorCode.CONFLICT)
        else:
            stored[key] = key.encode()
    assert stored
    assert {info.key for info in bucket.list()} == set(stored)
    assert all(bucket.get(key) == data for key, data in stored.items())
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(root_of(bucket))} == before


def test_the_signing_key_is_private_and_the_same_for_all_processes(bucket, tmp_path):
    path = root_of(bucket) / ".infra" / "signing-key"
    url = bucket.sign("object").url
    assert path.stat().st_mode & 0o777 == 0o600
    with open_bucket(tmp_path) as again:
        assert again.verify("GET", url).key == "object"
    assert path.read_bytes().hex() not in url
    with open_bucket(tmp_path, signing_key="another secret") as other, pytest.raises(StorageError, match="signature"):
        other.verify("GET", url)


# -- the process


def test_a_forked_child_refuses_and_the_parent_goes_on(bucket):
    bucket.put("object", b"data")
    child = os.fork()
    if child == 0:
        try:
            bucket.get("object")
        except ClosedError as error:
            os._exit(0 if "fork" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    bucket.put("object", b"more")
    assert bucket.get("object") == b"more"


def test_nothing_is_swept_from_under_a_live_writer(tmp_path):
    with open_bucket(tmp_path) as bucket, open_bucket(tmp_path) as other:
        crashed = subprocess.run(
            [
                sys.executable,
                "-c",
                "import os, sys; from pathlib import Path; from infra_testing.harness import Harness, Place\n"
                "bucket = Harness('local').open('storage', Place(Path(sys.argv[1])))\n"
                "with bucket.writer('folder/theirs') as writer:\n"
                "    writer.write(b'x' * 3_000_000)\n"
                "    os.kill(os.getpid(), 9)\n",
                tmp_path,
            ],
            timeout=150,
        )
        assert crashed.returncode == -9
        with bucket.writer("folder/ours") as writer:
            for _ in range(30):
                writer.write(b"x" * 100_000)
            with open_bucket(tmp_path) as third:
                assert not third.exists("folder/ours")
        other.put("folder/more", b"x")
        assert bucket.head("folder/ours").size == 3_000_000
        assert bucket.head("folder/ours").sha256
    with open_bucket(tmp_path) as bucket:  # nobody writes now
        assert names_in(root_of(bucket) / "folder") == ["more", "ours"]
        assert len(os.listdir(root_of(bucket) / "folder")) == 4


def test_no_descriptor_is_left_open(tmp_path):
    def work():
        with open_bucket(tmp_path) as bucket:
            for number in range(20):
                bucket.put(f"folder/{number}", b"x" * number)
                bucket.get(f"folder/{number}")
            list(bucket.list())
            for key in ("missing", "folder/0/under", "folder"):
                with pytest.raises(StorageError):
                    bucket.get(key)
            with pytest.raises(StorageError):
                bucket.put("folder", b"x")
            bucket.delete_many([info.key for info in bucket.list()])

    work()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        work()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_running_out_of_descriptors_is_reported(bucket):
    bucket.put("a/b/c/object", b"data")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(fd) for fd in os.listdir("/proc/self/fd")) + 2, hard))
    try:
        while True:
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        with pytest.raises(StorageError) as caught:
            bucket.get("a/b/c/object")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert caught.value.code == ErrorCode.UNAVAILABLE
    assert bucket.get("a/b/c/object") == b"data"


def test_a_deleted_root_is_not_healthy(bucket):
    assert bucket.health().status == "up"
    shutil.rmtree(root_of(bucket))
    health = bucket.health()
    assert (health.status, health.code) == ("down", "UNAVAILABLE")


@pytest.mark.parametrize(
    ("url", "root"), [("file:///var/lib/media", "/var/lib/media"), ("file://media/x", "media/x"), ("file:///a%20b", "/a b")]
)
def test_a_url_names_the_root(url, root):
    from infra_local.storage.settings import LocalStorageSettings

    assert LocalStorageSettings(**LocalStorageSettings.expand_url(url + "?durability=file")).root == Path(root)


def test_a_group_can_share_a_root_and_its_signing_key(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    before = os.umask(0o002)
    try:
        with Harness("local", {"root": root}).open("storage", Place(tmp_path)) as bucket:
            bucket.put("key", b"x")
            assert not (root / ".infra" / "signing-key").exists()
            bucket.sign("key")
    finally:
        os.umask(before)
    assert (root / ".infra" / "signing-key").stat().st_mode & 0o777 == 0o640
