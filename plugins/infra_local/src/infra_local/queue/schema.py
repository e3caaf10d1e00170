# ruff: noqa: S608  (the text put into statements is constant)
"""The tables of a queue file, and the statements on them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from infra.queue.model import (
    ACK,
    Action,
    Dead,
    DeadLetter,
    Durability,
    Extend,
    Message,
    PublishOutcome,
    QueueStats,
    Receipt,
    Retry,
    SendFailure,
    Settled,
)

#: ``PRAGMA user_version`` of files with these tables.
VERSION: Final = 1

# A message that nobody holds has lease 0; a held one is visible again when its lease ends. Of the messages with one key only the first can
# be claimed: the others have visible_at NULL, and their own time in `due`, until the one before is settled.
CREATE: Final = (
    "CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE message (
        seq INTEGER PRIMARY KEY, queue INTEGER NOT NULL, visible_at REAL,
        lease INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, abandoned INTEGER NOT NULL DEFAULT 0,
        id TEXT NOT NULL, content_type TEXT NOT NULL, headers TEXT, created_at REAL NOT NULL, key TEXT, dedup_key TEXT,
        deliver_at REAL, traceparent TEXT, due REAL, body BLOB NOT NULL)""",
    "CREATE INDEX message_visible ON message (queue, visible_at)",
    "CREATE INDEX message_key ON message (queue, key, seq) WHERE key IS NOT NULL",
    "CREATE TABLE seen (queue INTEGER, key TEXT, until REAL NOT NULL, PRIMARY KEY (queue, key)) WITHOUT ROWID",
    "CREATE INDEX seen_until ON seen (until)",
    """CREATE TABLE dead_letter (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL, reason TEXT NOT NULL,
        died_at REAL NOT NULL, attempts INTEGER NOT NULL,
        id TEXT NOT NULL, content_type TEXT NOT NULL, headers TEXT, created_at REAL NOT NULL, key TEXT, dedup_key TEXT,
        deliver_at REAL, traceparent TEXT, body BLOB NOT NULL)""",
    "CREATE INDEX dead_letter_queue ON dead_letter (queue, seq)",
    f"PRAGMA user_version = {VERSION}",
)

_ENVELOPE = "id, content_type, headers, created_at, key, dedup_key, deliver_at, traceparent, body"
_INSERT = f"INSERT INTO message (queue, visible_at, due, {_ENVELOPE}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
_REMEMBER = """INSERT INTO seen (queue, key, until) VALUES (?,?,?)
    ON CONFLICT (queue, key) DO UPDATE SET until = excluded.until WHERE until <= ? RETURNING 1"""
_LINE = "SELECT 1 FROM message WHERE queue = ? AND key = ? LIMIT 1"
_CLAIM = f"""UPDATE message SET lease = ?, visible_at = ?, attempts = attempts + 1, abandoned = abandoned + (lease != 0)
    WHERE seq IN
    (SELECT seq FROM message WHERE queue = ? AND visible_at <= ? ORDER BY visible_at LIMIT ?)
    RETURNING seq, attempts, abandoned, {_ENVELOPE}"""
_HELD = "WHERE seq = ? AND lease = ? AND visible_at > ?"
_ACK = f"DELETE FROM message {_HELD}"
_RETRY = f"UPDATE message SET lease = 0, visible_at = ?, attempts = attempts - ?, abandoned = abandoned * ? {_HELD}"
_EXTEND = f"UPDATE message SET visible_at = ? {_HELD}"
_BURY = f"""INSERT INTO dead_letter (queue, reason, died_at, attempts, {_ENVELOPE})
    SELECT queue, ?, ?, attempts, {_ENVELOPE} FROM message {_HELD}"""
_ADVANCE = """UPDATE message SET visible_at = due, due = NULL WHERE visible_at IS NULL AND seq =
    (SELECT seq FROM message WHERE queue = ? AND key = ? ORDER BY seq LIMIT 1)"""
#: What a message that cannot be stored raises, whatever the state of the file.
_BAD_VALUE = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, ValueError, OverflowError)
_FREE = "(lease = 0 OR visible_at <= ?)"

#: Of `claim`: sequence, attempts, how often its receiver let the lease end, envelope. Of `message_of`: the envelope.
Row = tuple[Any, ...]
#: Sequence, lease, key.
Token = tuple[int, int, str | None]


def declare(connection: sqlite3.Connection, name: str, create: bool) -> int | None:
    """The number of the queue `name`; None when there is none and `create` is False."""
    if create:
        connection.execute("INSERT INTO queue (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    row = connection.execute("SELECT id FROM queue WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def insert(
    connection: sqlite3.Connection, queue: int, batch: Sequence[Message], now: float, window: float, durability: Durability
) -> list[Receipt | SendFailure]:
    """Add all messages; when one cannot be added, it alone."""
    connection.execute("SAVEPOINT batch")
    answers: list[Receipt | SendFailure]
    try:
        answers = _insert(connection, queue, batch, now, window, durability)
    except (
        sqlite3.DataError,
        sqlite3.IntegrityError,
        sqlite3.InterfaceError,
        sqlite3.ProgrammingError,
        ValueError,
        OverflowError,
    ) as error:
        connection.execute("ROLLBACK TO batch")
        if len(batch) == 1:
            answers = [SendFailure(PublishOutcome.REFUSED, error)]
        else:
            answers = [insert(connection, queue, [message], now, window, durability)[0] for message in batch]
    connection.execute("RELEASE batch")
    return answers


def _insert(
    connection: sqlite3.Connection, queue: int, batch: Sequence[Message], now: float, window: float, durability: Durability
) -> list[Receipt | SendFailure]:
    answers: list[Receipt | SendFailure] = []
    rows: list[tuple[object, ...]] = []
    for message in batch:
        key, dedup_key, deliver_at = message.key, message.dedup_key, message.deliver_at
        at = None if deliver_at is None else deliver_at.timestamp()
        due: float | None = None
        visible_at: float | None = now if at is None else max(at, now)
        if dedup_key is not None and not connection.execute(_REMEMBER, (queue, dedup_key, now + window, now)).fetchall():
            answers.append(Receipt(message.id, durability, duplicate=True))
            continue
        if key is not None:
            if rows:  # the line of this key may be among them
                connection.executemany(_INSERT, rows)
                rows.clear()
            if connection.execute(_LINE, (queue, key)).fetchone() is not None:
                due, visible_at = visible_at, None
        rows.append(
            (
                queue,
                visible_at,
                due,
                message.id,
                message.content_type,
                json.dumps(dict(message.headers)) if message.headers else None,
                message.created_at.timestamp(),
                key,
                dedup_key,
                at,
                message.traceparent,
                message.body,
            )
        )
        answers.append(Receipt(message.id, durability))
    connection.executemany(_INSERT, rows)
    return answers


def claim(connection: sqlite3.Connection, queue: int, most: int, lease: int, now: float, until: float) -> list[Row]:
    """Take up to `most` visible messages, in the order of their sequence."""
    rows = connection.execute(_CLAIM, (lease, until, queue, now, most)).fetchall()
    rows.sort()
    return rows


def next_visible(connection: sqlite3.Connection, queue: int) -> float | None:
    """When a message will be, or became, visible; None when there is none."""
    return connection.execute("SELECT min(visible_at) FROM message WHERE queue = ? AND visible_at IS NOT NULL", (queue,)).fetchone()[0]


def settle(connection: sqlite3.Connection, queue: int, batch: Sequence[tuple[Token, Action]], now: float) -> list[Settled]:
    """Settle all whose lease still holds."""
    if all(action is ACK for _, action in batch):
        connection.execute("SAVEPOINT batch")
        done = connection.executemany(_ACK, [(seq, lease, now) for (seq, lease, _), _ in batch]).rowcount
        if done == len(batch):
            connection.execute("RELEASE batch")
            for (_, _, key), _ in batch:
                if key is not None:
                    connection.execute(_ADVANCE, (queue, key))
            return [Settled.DONE] * len(batch)
        connection.execute("ROLLBACK TO batch")
        connection.execute("RELEASE batch")
    return [_settle(connection, queue, token, action, now) for token, action in batch]


def _settle(connection: sqlite3.Connection, queue: int, token: Token, action: Action, now: float) -> Settled:
    seq, lease, key = token
    held = (seq, lease, now)
    removed = False
    if isinstance(action, Retry):
        done = connection.execute(_RETRY, (now + action.delay, 0 if action.counted else 1, 0 if action.counted else 1, *held)).rowcount
    elif isinstance(action, Extend):
        done = connection.execute(_EXTEND, (now + action.seconds, *held)).rowcount
    else:
        if isinstance(action, Dead):
            connection.execute(_BURY, (action.reason.encode(errors="replace").decode(), now, *held))
        done = connection.execute(_ACK, held).rowcount
        removed = True
    if not done:
        return Settled.LOST
    if removed and key is not None:
        connection.execute(_ADVANCE, (queue, key))
    return Settled.DONE


def forget(connection: sqlite3.Connection, now: float) -> None:
    """Forget deduplication keys whose window is over, a few at a time."""
    connection.execute("DELETE FROM seen WHERE (queue, key) IN (SELECT queue, key FROM seen WHERE until <= ? LIMIT 1000)", (now,))


def token_of(row: Row, lease: int) -> Token:
    """What settles a claimed row."""
    return row[0], lease, row[7]


def message_of(attempts: int, envelope: Row) -> Message:
    """The message in the columns of `_ENVELOPE`."""
    id_, content_type, headers, created_at, key, dedup_key, deliver_at, traceparent, body = envelope
    return Message(
        body,
        id_,
        content_type,
        json.loads(headers) if headers else {},
        datetime.fromtimestamp(created_at, UTC),
        key,
        dedup_key,
        None if deliver_at is None else datetime.fromtimestamp(deliver_at, UTC),
        attempts,
        traceparent,
    )


def stats(connection: sqlite3.Connection, queue: int, now: float) -> QueueStats:
    """Numbers of messages now."""
    total, held, ready, oldest = connection.execute(
        """SELECT count(*), total(lease != 0 AND visible_at > ?1), total(coalesce(visible_at, due) <= ?1),
        min(coalesce(visible_at, due)) FROM message WHERE queue = ?2""",
        (now, queue),
    ).fetchone()
    dead = connection.execute("SELECT count(*) FROM dead_letter WHERE queue = ?", (queue,)).fetchone()[0]
    return QueueStats(
        ready=int(ready),
        delayed=int(total - held - ready),
        in_flight=int(held),
        dead=dead,
        oldest=max(0.0, now - oldest) if ready else None,
    )


def peek(connection: sqlite3.Connection, queue: int, most: int, now: float) -> list[Message]:
    """The oldest messages that nobody holds."""
    rows = connection.execute(
        f"SELECT attempts, {_ENVELOPE} FROM message WHERE queue = ? AND {_FREE} ORDER BY seq LIMIT ?",
        (queue, now, most),
    ).fetchall()
    return [message_of(row[0], row[1:]) for row in rows]


def dead_letters(connection: sqlite3.Connection, queue: int, most: int) -> list[DeadLetter]:
    """The oldest dead letters."""
    rows = connection.execute(
        f"SELECT reason, died_at, attempts, {_ENVELOPE} FROM dead_letter WHERE queue = ? ORDER BY seq LIMIT ?",
        (queue, most),
    ).fetchall()
    return [DeadLetter(message_of(row[2], row[3:]), row[0], datetime.fromtimestamp(row[1], UTC)) for row in rows]


def redrive(connection: sqlite3.Connection, queue: int, ids: Sequence[str] | None, most: int, now: float) -> int:
    """Put dead letters back."""
    wanted = "" if ids is None else "AND id IN (SELECT value FROM json_each(?))"
    rows = connection.execute(
        f"SELECT seq, {_ENVELOPE} FROM dead_letter WHERE queue = ? {wanted} ORDER BY seq LIMIT ?",
        (queue, most) if ids is None else (queue, json.dumps(list(ids)), most),
    ).fetchall()
    for seq, *envelope in rows:
        waits = envelope[4] is not None and connection.execute(_LINE, (queue, envelope[4])).fetchone() is not None
        envelope[6] = None  # its time has come long ago
        connection.execute(_INSERT, (queue, None if waits else now, now if waits else None, *envelope))
        connection.execute("DELETE FROM dead_letter WHERE seq = ?", (seq,))
    return len(rows)


def purge(connection: sqlite3.Connection, queue: int, dead: bool, now: float) -> int:
    """Delete what nobody holds, or the dead letters."""
    if dead:
        return connection.execute("DELETE FROM dead_letter WHERE queue = ?", (queue,)).rowcount
    return connection.execute(f"DELETE FROM message WHERE queue = ? AND {_FREE}", (queue, now)).rowcount
