"""The SQLite queue when processes die, stop and fight, and when the disk fails."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.errors import ClosedError, ConfigurationError
from infra.queue import LeaseLostError, PublishError, PublishOutcome, Receipt
from infra_local.filesystem import network_file_system
from infra_testing.harness import Harness, Place

HARNESS = Harness("sqlite")
PROCESSES = Path(__file__).with_name("queue_processes.py")


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(PROCESSES), *map(str, arguments)], text=True, **options)


def ledger(folder: Path, kind: str) -> Counter[str]:
    lines: Counter[str] = Counter()
    for path in folder.glob(f"{kind}-*"):
        lines.update(line for line in path.read_text().split("\n")[:-1])
    return lines


def open_queue(folder: Path, **settings: object) -> Any:
    return HARNESS.open("queue", Place(folder), **settings)


def wait_until(condition: Any, timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


def test_nothing_is_lost_when_workers_are_killed_at_random(tmp_path: Path) -> None:
    dice = random.Random(7)
    open_queue(tmp_path).close()
    names = iter(range(1000))
    publishers = [start("publisher", tmp_path, f"p{number}", 2500) for number in range(2)]
    consumers = [start("consumer", tmp_path, f"c{next(names)}") for _ in range(2)]
    kills = 0
    watcher = open_queue(tmp_path)
    try:
        while any(process.poll() is None for process in publishers) or kills < 6:
            time.sleep(dice.uniform(0.3, 0.8))
            place = dice.randrange(2)
            consumers[place].kill()
            consumers[place].wait()
            kills += 1
            consumers[place] = start("consumer", tmp_path, f"c{next(names)}")
            if kills == 3 and publishers[0].poll() is None:
                publishers[0].kill()
                publishers[0].wait()
                publishers[0] = start("publisher", tmp_path, "p9", 2500)
        assert all(process.wait() == 0 for process in publishers)

        def drained() -> bool:
            stats = watcher.stats()
            return stats.ready + stats.delayed + stats.in_flight == 0

        wait_until(drained)
    finally:
        for process in (*publishers, *consumers):
            process.kill()
            process.wait()
    watcher.close()
    tried, returned, handled = (ledger(tmp_path, kind) for kind in ("tried", "returned", "handled"))
    assert len(returned) >= 5000
    assert not set(returned) - set(handled), "returned publishes were lost"
    assert not set(handled) - set(tried), "foreign messages were handled"
    duplicates = sum(count - 1 for count in handled.values())
    print(f"{len(returned)} returned, {len(handled)} handled, {duplicates} twice, {kills} kills")


def test_a_transaction_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    receipt = queue.publish(b"kept")
    queue.close()
    process = start("holder", tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    process.kill()
    process.communicate()
    queue = open_queue(tmp_path)
    stats = queue.stats()
    assert (stats.ready, stats.delayed) == (1, 0)
    (delivery,) = queue.receive()
    assert delivery.id == receipt.id
    assert queue.unwrap(sqlite3.Connection).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    queue.close()


def test_a_locked_file_refuses_in_time_and_then_goes_on(tmp_path: Path) -> None:
    open_queue(tmp_path).close()
    process = start("holder", tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    queue = open_queue(tmp_path, busy_timeout=0.1, publish_attempts=2)
    with pytest.raises(PublishError, match="locked") as caught:
        queue.publish(b"x")
    assert caught.value.outcome is PublishOutcome.NOT_SENT
    assert caught.value.retryable
    answers: list[object] = []
    patient = open_queue(tmp_path, busy_timeout=0.2, publish_attempts=100)
    thread = threading.Thread(target=lambda: answers.append(patient.publish(b"patient")))
    thread.start()
    process.kill()
    process.communicate()
    thread.join()
    assert isinstance(answers[0], Receipt)
    assert [delivery.body for delivery in queue.receive()] == [b"patient"]
    queue.close()
    patient.close()


def test_a_full_disk_refuses_and_consuming_frees_it(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, max_pages=100, publish_attempts=1)
    answers = queue.publish_many([b"x" * 20_000])
    while not isinstance(answers[-1], PublishError):
        answers += queue.publish_many([b"x" * 20_000])
    assert answers[-1].outcome is PublishOutcome.NOT_SENT
    assert "full" in answers[-1].message
    sent = [answer.id for answer in answers[:-1]]
    assert len(sent) > 3
    deliveries = []
    while len(deliveries) < len(sent):
        deliveries += queue.receive(wait=60)
    assert [delivery.id for delivery in deliveries] == sent
    for delivery in deliveries:
        delivery.ack()
    assert isinstance(queue.publish(b"x" * 20_000), Receipt)
    queue.close()


def test_a_failed_commit_is_unknown_and_the_file_is_opened_again(tmp_path: Path) -> None:
    process = start("limited", tmp_path, stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=120)
    assert output.split() == ["unknown", "True", "True"]


def test_one_bad_entry_costs_nobody_in_its_group(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    answers = queue.publish_many(
        [queue.message(b"1"), queue.message(b"2", key="\ud800"), queue.message(b"3", key="k"), queue.message(b"4")]
    )
    assert [isinstance(answer, Receipt) for answer in answers] == [True, False, True, True]
    assert answers[1].outcome is PublishOutcome.REFUSED
    assert sorted(delivery.body for delivery in queue.receive()) == [b"1", b"3", b"4"]
    queue.close()


def test_a_process_that_was_stopped_past_its_lease_cannot_acknowledge(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    receipt = queue.publish(b"x")
    process = start("sleeper", tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{receipt.id}\n"
    process.send_signal(signal.SIGSTOP)
    (delivery,) = queue.receive(wait=90, lease=600)
    assert (delivery.id, delivery.attempt) == (receipt.id, 2)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate("go\n", timeout=120)
    assert output.strip() == LeaseLostError.__name__
    delivery.ack()
    stats = queue.stats()
    assert (stats.ready, stats.in_flight) == (0, 0)
    queue.close()


def test_a_publish_returns_after_its_commit_is_synchronous(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    connection = queue.unwrap(sqlite3.Connection)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    reader = sqlite3.connect(tmp_path / "queues.db")
    for number in range(20):
        receipt = queue.publish(b"x")
        assert receipt.durability == "disk"
        assert reader.execute("SELECT count(*) FROM message WHERE id = ?", (receipt.id,)).fetchone() == (1,), number
    reader.close()
    queue.close()
    queue = open_queue(tmp_path, synchronous="normal")
    assert queue.publish(b"x").durability == "process"
    queue.close()


def test_a_starved_checkpoint_loses_nothing(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    reader = sqlite3.connect(tmp_path / "queues.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM message").fetchone()  # holds the log's end where it is
    sent = {answer.id for answer in queue.publish_many([b"x" * 2000] * 3000)}
    found = set()
    while len(found) < len(sent):
        for delivery in queue.receive(max=500, lease=600):
            found.add(delivery.id)
            if len(found) % 100 == 0:
                delivery.ack()
    reader.execute("COMMIT")
    reader.close()
    assert found == sent
    queue.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_may_not_use_it_and_does_no_harm(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    queue.publish(b"before")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            queue.publish(b"from the child")
        except ClosedError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    queue.publish(b"after")
    assert [delivery.body for delivery in queue.receive()] == [b"before", b"after"]
    queue.close()


def test_both_doors_of_a_kernel_share_one_writer(tmp_path: Path) -> None:
    place = Place(tmp_path)
    one, two = HARNESS.open("queue", place), HARNESS.open("queue", place, "other")
    assert one.unwrap(sqlite3.Connection) is two.unwrap(sqlite3.Connection)
    one.close()
    two.publish(b"still open")
    two.close()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "queues.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(ConfigurationError, match="not a queue file"):
        open_queue(tmp_path)
    (tmp_path / "other.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        open_queue(tmp_path, path=tmp_path / "other.db")


def test_network_file_systems_are_recognised(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n"
        "40 22 0:50 / /srv rw shared:9 - nfs4 server:/export rw\n"
        "41 40 0:51 / /srv/local\\040disk rw - xfs /dev/vdb rw\n"
        "42 22 0:52 / /home rw master:2 - fuse.sshfs host:/ rw\n"
    )
    found = {path: network_file_system(Path(path), mounts) for path in ("/tmp/q.db", "/srv/q.db", "/srv/local disk/q.db", "/home/me/q.db")}
    assert found == {"/tmp/q.db": None, "/srv/q.db": "nfs4", "/srv/local disk/q.db": None, "/home/me/q.db": "fuse.sshfs"}
    assert network_file_system(tmp_path, tmp_path / "absent") is None
