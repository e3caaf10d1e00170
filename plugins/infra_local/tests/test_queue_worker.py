"""The worker, as a process with signals, over the SQLite queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra_testing.harness import Harness, Place

HERE = Path(__file__).parent


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """``run(handler, "concurrency=4", ...)`` starts a worker process; all are killed afterwards."""
    processes: list[subprocess.Popen[str]] = []

    def start(handler: str, *fields: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(HERE), "QUEUE_TEST_FOLDER": str(tmp_path)}
        command = [sys.executable, str(HERE / "queue_processes.py"), "worker", str(tmp_path), handler, *fields]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def publish(folder: Path, count: int) -> None:
    queue = Harness("sqlite").open("queue", Place(folder))
    queue.publish_many([{"number": number} for number in range(count)])
    queue.close()


def notes(folder: Path, kind: str) -> list[tuple[int, int]]:
    path = folder / kind
    return [(int(pid), int(text)) for pid, text in map(str.split, path.read_text().splitlines())] if path.exists() else []


def stats(folder: Path) -> Any:
    queue = Harness("sqlite").open("queue", Place(folder))
    found = queue.stats()
    queue.close()
    return found


def dead_letters(folder: Path) -> list[tuple[bytes, str]]:
    queue = Harness("sqlite").open("queue", Place(folder))
    found = [(letter.message.body, letter.reason) for letter in queue.dead_letters.list()]
    queue.close()
    return found


def wait_until(condition: Callable[[], object], tell: Callable[[], object] = lambda: "", timeout: float = 120.0) -> None:
    """Wait until `condition` holds; what `tell` gives is said when it does not."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"what was waited for did not happen: {tell()}"
        time.sleep(0.02)


def test_it_decodes_by_the_handlers_annotation_and_ends_when_empty(run: Any, tmp_path: Path) -> None:
    publish(tmp_path, 30)
    process = run("handle", "until=empty", "progress=1")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert sorted(number for _, number in notes(tmp_path, "handled")) == list(range(30))
    assert "30 handled" in errors


def test_a_signal_drains_and_gives_back_the_rest(run: Any, tmp_path: Path) -> None:
    publish(tmp_path, 20)
    process = run("handle_slowly", "concurrency=3")
    wait_until(lambda: len(notes(tmp_path, "started")) >= 3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0
    handled = {number for _, number in notes(tmp_path, "handled")}
    assert handled == {number for _, number in notes(tmp_path, "started")}
    left = stats(tmp_path)
    assert (left.ready, left.in_flight) == (20 - len(handled), 0)


def test_a_second_signal_aborts(run: Any, tmp_path: Path) -> None:
    publish(tmp_path, 2)
    process = run("handle_for_ever", "concurrency=2", "queue.drain_timeout=300")
    wait_until(lambda: len(notes(tmp_path, "started")) == 2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert process.poll() is None
    for _ in range(10):  # signals that come before the process has seen the first are one
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
            break
        except subprocess.TimeoutExpired:
            pass
    assert process.wait(timeout=120) == 130
    assert stats(tmp_path).ready == 2


@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_ends_a_worker_whose_server_does_not_answer(run: Any, tmp_path: Path, processes: int) -> None:
    process = run("handle", "opener=queue_processes:open_never", f"processes={processes}")
    wait_until(lambda: (tmp_path / "opening").exists())
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_stuck_thread_does_not_hold_the_process_beyond_the_deadline(run: Any, tmp_path: Path) -> None:
    publish(tmp_path, 1)
    process = run("handle_stuck", "queue.drain_timeout=0.3")
    wait_until(lambda: notes(tmp_path, "started"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0
    assert stats(tmp_path).ready + stats(tmp_path).in_flight == 1


def test_dead_processes_are_replaced_and_poison_ends_as_a_dead_letter(run: Any, tmp_path: Path) -> None:
    publish(tmp_path, 10)
    process = run("handle_or_die", "processes=2", "concurrency=1", "lease=1.0", "max_attempts=3")

    def tell() -> tuple[object, ...]:
        return stats(tmp_path), dead_letters(tmp_path), notes(tmp_path, "handled"), process.poll()

    wait_until(lambda: stats(tmp_path).dead, tell)
    wait_until(lambda: {number for _, number in notes(tmp_path, "handled")} == set(range(10)) - {7}, tell)
    assert [body for body, _ in dead_letters(tmp_path)] == [b'{"number":7}'], tell()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0
    assert "SIGKILL" in process.communicate()[1]
    left = stats(tmp_path)
    assert (left.ready, left.in_flight, left.dead) == (0, 0, 1), left


def test_children_end_when_their_parent_is_killed(run: Any, tmp_path: Path) -> None:
    publish(tmp_path, 4)
    process = run("handle", "processes=2", "concurrency=1")
    wait_until(lambda: len(notes(tmp_path, "handled")) == 4)
    children = {pid for pid, _ in notes(tmp_path, "handled")}
    assert process.pid not in children
    process.kill()
    process.wait()
    wait_until(lambda: not any(running(pid) for pid in children))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("processes", [1, 2])
def test_what_cannot_start_says_so_and_is_not_started_again(run: Any, tmp_path: Path, processes: int) -> None:
    process = run("no_such_handler", f"processes={processes}")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "no_such_handler" in errors
