"""What the portable database does by itself."""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from infra.database import DatabaseSettings, PoolStats, Retry
from infra.database.pooling import readable, watch_idle_connections
from infra.database.scopes import Running, enter, find, leave
from infra.database.units import refuse_ddl
from infra.errors import UnsupportedError
from infra_testing.harness import Harness, Place


def test_a_delay_has_full_jitter_within_its_bound():
    retry = Retry(first=0.1, longest=1.0)
    for attempt, bound in ((1, 0.1), (2, 0.2), (3, 0.4), (9, 1.0), (10_000, 1.0)):
        delays = [retry.delay(attempt) for _ in range(200)]
        assert 0 <= min(delays) < bound / 4
        assert bound / 2 < max(delays) <= bound


def test_settings_have_the_defaults_of_the_manual():
    settings = DatabaseSettings()
    assert (settings.pool_size, settings.max_overflow, settings.pool_recycle, settings.pool_pre_ping) == (10, 10, 900, True)
    assert (settings.pool_timeout, settings.statement_timeout, settings.lock_timeout) == (5, 30, 5)
    assert (settings.idle_in_transaction_timeout, settings.expire_on_commit, settings.required) == (60, False, True)
    assert "pool_size" in settings.portable_fields
    assert "statement_timeout" not in settings.portable_fields


def test_a_quiet_socket_is_not_readable_and_one_at_its_end_is():
    here, there = socket.socketpair()
    assert not readable(here.fileno())
    there.close()
    assert readable(here.fileno())
    here.close()


def test_an_idle_connection_whose_socket_ended_is_replaced(tmp_path):
    with Harness("sqlite").open("database", Place(tmp_path)) as database:
        pairs = {}

        def idle_socket(dbapi_connection):
            if dbapi_connection not in pairs:
                pairs[dbapi_connection] = socket.socketpair()
            return pairs[dbapi_connection][0].fileno()

        database.policy.idle_socket = idle_socket
        watch_idle_connections(database.engine)
        pings = []
        alive = database.engine.dialect.do_ping
        database.engine.dialect.do_ping = lambda connection: pings.append(1) or (len(pairs) > 1 and alive(connection))
        for _ in range(3):
            database.execute("SELECT 1")
        assert (len(pairs), len(pings)) == (1, 0)
        next(iter(pairs.values()))[1].close()
        for _ in range(2):
            assert database.execute("SELECT 1").scalar() == 1
        assert (len(pairs), len(pings)) == (2, 1)
        for pair in pairs.values():
            for end in pair:
                end.close()


async def test_a_driver_may_cancel_by_a_statement_of_its_own_connection(tmp_path):
    async with await Harness("sqlite").open_async("database", Place(tmp_path)) as database:
        await database.execute(text("CREATE TABLE cancelled (connection TEXT)"))
        interrupt = database.policy.cancel

        def cancel(connection_id):
            interrupt(connection_id)
            return text("INSERT INTO cancelled VALUES (:id)").bindparams(id=connection_id)

        database.policy.cancel = cancel
        endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(database.execute(endless), 0.2)
        assert await database.engines._background.stop(10)
        assert len((await database.execute("SELECT connection FROM cancelled")).all()) == 1


def test_a_saturated_pool_says_so():
    stats = PoolStats(limit=2, open=2, in_use=2, idle=0)
    assert stats.saturated
    assert not replace(stats, in_use=1).saturated


@pytest.mark.parametrize("statement", ["create table x (a)", "  DROP INDEX y", "ALTER TABLE x ADD b", "\nTRUNCATE x"])
def test_ddl_is_refused(statement):
    with pytest.raises(UnsupportedError):
        refuse_ddl(None, None, statement, None, None, False)  # type: ignore[arg-type]


def test_dml_is_not_refused():
    refuse_ddl(None, None, "UPDATE creations SET altered = 1", None, None, False)  # type: ignore[arg-type]


def test_only_the_place_that_opened_a_session_is_in_it():
    database, place, other = object(), object(), object()
    scope = Running(database, "session", "writer", place, None)
    token = enter(scope)
    assert find(database, place) is scope
    assert find(database, other) is None
    assert find(object(), place) is None
    leave(scope, token)
    assert find(database, place) is None


def test_a_scope_left_in_another_context_is_over_everywhere():
    database, place = object(), object()
    scope = Running(database, "session", "writer", place, None)
    token = enter(scope)
    thread = threading.Thread(target=leave, args=(scope, token))
    thread.start()
    thread.join()
    assert find(database, place) is None
    leave(scope, token)


def test_errors_name_resource_provider_operation_cause_and_remedy(tmp_path):
    with Harness("sqlite").open("database", Place(tmp_path)) as database:
        with pytest.raises(Exception, match="no such table") as caught:
            database.execute(text("SELECT * FROM absent"))
        error = caught.value
        assert (error.resource, error.provider, error.operation) == ("database.main", "sqlite", "execute")
        assert error.remedy
        assert error.__cause__ is not None
        assert "absent" not in error.to_dict()["message"]
