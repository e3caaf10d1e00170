from __future__ import annotations

import os
import threading
import time
from uuid import RFC_4122, UUID

from infra.runtime.identifiers import UUID7Generator, uuid7


def test_it_is_a_version_7_uuid_of_now() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made == UUID(str(made))
    assert hash(made) == hash(UUID(str(made)))
    assert before <= made.int >> 80 <= after + 1


def test_each_is_greater_than_the_one_before_in_every_thread() -> None:
    made: list[list[UUID]] = [[] for _ in range(4)]

    def make(into: list[UUID]) -> None:
        into.extend(uuid7() for _ in range(2_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in made:
        assert one == sorted(one)
    assert len({identifier for one in made for identifier in one}) == 8_000


def test_a_clock_that_steps_back_does_not_disturb_the_order() -> None:
    clock = iter([5_000_000_000, 1_000_000_000, 1_000_000_000, 6_000_000_000])
    generate = UUID7Generator(lambda: next(clock))
    made = [generate() for _ in range(4)]
    assert made == sorted(made)
    assert [one.int >> 80 for one in made] == [5_000, 5_000, 5_000, 6_000]


def test_a_full_counter_moves_on_to_the_next_millisecond() -> None:
    generate = UUID7Generator(lambda: 5_000_000_000)
    first = generate()
    generate._counter = (1 << 42) - 1
    second = generate()
    assert second.int >> 80 == 5_001
    assert second > first
    assert (second.version, second.variant) == (7, RFC_4122)


def test_a_forked_child_does_not_repeat_its_parent() -> None:
    uuid7()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, uuid7().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    theirs, mine = UUID(bytes=os.read(read, 16)), uuid7()
    os.close(read)
    os.close(write)
    assert theirs != mine
    assert (theirs.int >> 32) & ((1 << 30) - 1) != (mine.int >> 32) & ((1 << 30) - 1)
