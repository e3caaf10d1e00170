"""Connections that cannot be made, or must not be: each says why in one line; TLS is what the settings say."""

from __future__ import annotations

import inspect
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from infra.database import DatabaseConnectionError, DatabaseOperationError
from infra.errors import ConfigurationError, ErrorCode
from infra_mysql.settings import MySQLSettings
from infra_testing.harness import Harness, Place
from infra_testing.pytest_plugin import need_package, provide
from infra_testing.services import MariaDBServer
from infra_testing.services.certificates import make_certificates

DRIVERS = ["pymysql", "mysqlclient", "asyncmy", "aiomysql"]
ASYNCIO = ["asyncmy", "aiomysql"]
SECRET = "canary-4711"


async def settle(value):
    """What a call of either door gives."""
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(scope="module")
def url(mariadb_server):
    url = mariadb_server.database()
    yield url
    mariadb_server.drop_database(url)


async def open_door(driver, place, url, **settings):
    if driver == "mysqlclient":
        need_package("MySQLdb", "run `make services`")
    values = {"connect_timeout": 30, **MySQLSettings.expand_url(url), "driver": driver, **settings}
    harness = Harness("mysql", values, plugin="infra_mysql")
    return await harness.open_async("database", place) if driver in ASYNCIO else harness.open("database", place)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("case", ["refused port", "unknown host", "missing database", "wrong password", "silence"])
async def test_what_cannot_connect_says_so_in_one_line(driver, case, url, tmp_path, mariadb_server, fault_proxy, request):
    changes = {"password": SECRET}
    if case in ("refused port", "silence"):
        proxy = fault_proxy(mariadb_server)
        changes["port"] = proxy.port
        if case == "silence":
            proxy.black_hole()
            changes["connect_timeout"] = 1
        else:
            proxy.refuse()
    elif case == "unknown host":
        changes["host"] = "no-such-host.invalid"
    elif case == "missing database":
        changes |= {"database": "absent", "password": None}
    else:
        changes |= {"port": request.getfixturevalue("other_server").port, "username": "somebody"}
    database = await open_door(driver, Place(tmp_path), url, **changes)
    with pytest.raises(DatabaseConnectionError) as caught:
        await settle(database.execute(text("SELECT 1")))
    await settle(database.close())
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET not in line + str(caught.value.to_dict(public=False))
    assert line.startswith("database.main: connect failed on mysql")
    assert caught.value.remedy
    words = {
        "refused port": "refused",
        "unknown host": "unknown host",
        "missing database": "there is no database 'absent'",
        "wrong password": "wrong user name or password, of user 'somebody'",
    }
    assert words.get(case, "") in line
    codes = {"wrong password": ErrorCode.UNAUTHENTICATED, "missing database": ErrorCode.CONFIGURATION}
    assert caught.value.code is codes.get(case, ErrorCode.UNAVAILABLE)


class OtherServer(MariaDBServer):
    """MariaDB with TLS, a certificate for localhost that an authority of its own has signed, and a lax SQL mode."""

    def prepare(self) -> None:
        super().prepare()
        make_certificates(self.root)

    def command(self) -> list[str]:
        return [*super().command(), f"--ssl-cert={self.root}/server.crt", f"--ssl-key={self.root}/server.key", "--sql-mode=ANSI_QUOTES"]


@pytest.fixture(scope="module")
def other_server():
    server = OtherServer()
    try:
        provide(OtherServer, lambda _: server.start())
        server.sql("CREATE USER somebody IDENTIFIED BY 'right'; GRANT ALL ON *.* TO somebody")
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_tls_is_verified_required_or_preferred(driver, other_server, url, tmp_path):
    strict = {"sql_mode": "STRICT_ALL_TABLES", "port": other_server.port, "password": "right", "username": "somebody", "database": "mysql"}
    query = text("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    trusted = str(other_server.root / "ca.crt")
    for change, encrypted in (
        ({"tls": "verify", "tls_ca": trusted, "host": "localhost"}, True),
        ({"tls": "require"}, True),
        ({"tls": "prefer"}, True),
        ({"tls": "disable"}, False),
    ):
        database = await open_door(driver, Place(tmp_path), url, **strict, **change)
        assert bool((await settle(database.execute(query))).one()[1]) is encrypted, change
        await settle(database.close())
    for change in ({"tls": "verify", "host": "localhost"}, {"tls": "verify", "tls_ca": trusted, "host": "127.0.0.1"}):
        database = await open_door(driver, Place(tmp_path), url, **strict, **change)
        with pytest.raises(DatabaseConnectionError):
            await settle(database.execute(query))
        await settle(database.close())
    database = await open_door(driver, Place(tmp_path), url, tls="require")
    with pytest.raises(DatabaseConnectionError, match="does not speak TLS"):
        await settle(database.execute(query))
    await settle(database.close())


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_server_that_cuts_values_is_refused(driver, other_server, tmp_path):
    database = await open_door(driver, Place(tmp_path), other_server.url)
    with pytest.raises(ConfigurationError, match="sql_mode is not strict") as caught:
        await settle(database.execute(text("SELECT 1")))
    assert caught.value.resource == "database.main"
    assert database.pool.in_use == 0
    await settle(database.close())
    database = await open_door(driver, Place(tmp_path), other_server.url, sql_mode="STRICT_TRANS_TABLES")
    assert (await settle(database.execute(text("SELECT @@sql_mode")))).scalar() == "STRICT_TRANS_TABLES"
    await settle(database.close())


def test_a_server_without_a_free_connection_says_so(start_server, tmp_path):
    server = start_server(MariaDBServer, options={"max-connections": "10"})
    settings = {**MySQLSettings.expand_url(server.url), "connect_timeout": 30, "pool_size": 12}
    with Harness("mysql", settings, plugin="infra_mysql").open("database", Place(tmp_path)) as database, ExitStack() as stack:
        for _ in range(11):  # one beyond the limit is the administrator's
            stack.enter_context(database.engine.connect())
        with pytest.raises(DatabaseOperationError, match="no connection left") as caught:
            stack.enter_context(database.engine.connect())
        assert caught.value.code is ErrorCode.UNAVAILABLE
        stack.close()
        assert database.execute(text("SELECT 1")).scalar() == 1


async def test_aiomysql_has_no_read_timeout_and_says_so(url, tmp_path):
    with pytest.raises(ConfigurationError, match="aiomysql has no read timeout"):
        await open_door("aiomysql", Place(tmp_path), url, read_timeout=5)


@pytest.mark.parametrize("driver", ["pymysql", "mysqlclient", "asyncmy"])
async def test_a_read_timeout_ends_the_wait_for_a_server_that_says_nothing(driver, url, tmp_path, mariadb_server, fault_proxy):
    proxy = fault_proxy(mariadb_server)
    database = await open_door(driver, Place(tmp_path), url, port=proxy.port, read_timeout=1, pool_size=1, max_overflow=0)
    await settle(database.ping())
    proxy.black_hole()
    with pytest.raises(DatabaseConnectionError):
        await settle(database.execute(text("SELECT 1")))
    proxy.heal()
    assert (await settle(database.execute(text("SELECT 1")))).scalar() == 1
    await settle(database.close())
