"""How to connect: the URL, the arguments of each DBAPI, and what every session is told first."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pymysql.err import OperationalError
from sqlalchemy import URL

from infra.errors import ConfigurationError
from infra_mysql.dialects import NAMES, RSA_MISSING
from infra_mysql.settings import Driver, MySQLSettings, is_strict

#: Where Linux distributions keep the certificate authorities that the machine trusts.
_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
#: The C client's names of our words.
_SSL_MODES: Final = {
    "verify": "VERIFY_IDENTITY",
    "authority": "VERIFY_CA",
    "require": "REQUIRED",
    "prefer": "PREFERRED",
    "disable": "DISABLED",
}
#: Seconds without an acknowledgement after which the network is taken to be cut.
_NETWORK_TIMEOUT: Final = 30
#: The longest time that PyMySQL and asyncmy take for connecting, in seconds.
_LONGEST: Final = 31_536_000
#: The oldest servers that have all that is used here, SKIP LOCKED first of all.
_OLDEST: Final = {"MariaDB": (10, 6), "MySQL": (8, 0)}
#: Lifts the time limit of a session. Each server runs only its own part of the comments, so that no version need be known.
UNLIMITED: Final = "SET NAMES utf8mb4 /*M!100100 , max_statement_time = 0 */ /*!80000 , max_execution_time = 0 */"


def make_url(settings: MySQLSettings, is_async: bool) -> URL:
    """The URL for one door's DBAPI."""
    driver = settings.driver_of(is_async)
    # To the C library localhost is the socket file of whatever server this machine has; in capitals it is a host as it is to the others.
    host = "LOCALHOST" if driver == "mysqlclient" and settings.host == "localhost" else settings.host
    return URL.create(
        f"mysql+{NAMES[driver]}",
        username=settings.username,
        password=settings.password.reveal() if settings.password is not None else None,
        host=host,
        port=settings.port,
        database=settings.database,
    )


def connect_arguments(settings: MySQLSettings, is_async: bool, production: bool) -> dict[str, Any]:
    """Arguments of the DBAPI's ``connect``."""
    driver = settings.driver_of(is_async)
    tls = settings.tls or ("verify" if production else "prefer")
    if settings.tls_ca and tls in ("require", "prefer"):
        tls = "authority"  # who names an authority wants it asked: as VERIFY_CA of MySQL's own clients
    arguments: dict[str, Any] = {"charset": settings.charset}
    if settings.unix_socket:
        arguments["unix_socket"] = settings.unix_socket
        tls = "disable"
    if driver == "mysqlclient":
        timeouts = {name: math.ceil(getattr(settings, name)) for name in ("connect_timeout", "read_timeout", "write_timeout")}
        arguments |= {name: seconds for name, seconds in timeouts.items() if seconds}
        arguments |= {"autocommit": None, "ssl_mode": _SSL_MODES[tls]}
        if tls in ("verify", "authority"):
            arguments["ssl"] = {"ca": settings.tls_ca or _authorities()}
        return arguments
    # Whatever the server's default is: the policy switches it when a transaction begins.
    arguments |= {"autocommit": None, "connect_timeout": settings.connect_timeout or _LONGEST}
    if driver == "pymysql":
        arguments |= {"read_timeout": settings.read_timeout or None, "write_timeout": settings.write_timeout or None}
        if tls == "disable":
            arguments["ssl_disabled"] = True
    elif driver == "asyncmy" and settings.read_timeout:
        arguments["read_timeout"] = settings.read_timeout
    if tls != "disable" and not (driver == "pymysql" and tls == "prefer"):
        arguments["ssl"] = _tls_context(tls, settings.tls_ca)
    if is_async:
        make = import_module(f"infra_mysql.on_{driver}").connect
        del arguments["connect_timeout"]
        arguments["async_creator_fn"] = _bounded(make, tls, settings.connect_timeout or None)
    return arguments


def connect_plainly(settings: MySQLSettings, production: bool) -> Any:
    """A connection of PyMySQL outside the pool, for whichever door; nothing on it waits longer than connecting may."""
    plain = settings.model_copy(update={"driver": ["pymysql"]})
    arguments = connect_arguments(plain, False, production)
    timeout = settings.connect_timeout or _NETWORK_TIMEOUT
    bounds = {"connect_timeout": timeout, "read_timeout": timeout, "write_timeout": timeout, "autocommit": True}
    password = settings.password.reveal() if settings.password is not None else ""
    place = {"host": settings.host, "port": settings.port, "user": settings.username, "password": password, "database": settings.database}
    return import_module("pymysql").connect(**{**arguments, **place, **bounds})


def session_settings(settings: MySQLSettings) -> str:
    """One statement for all settings of a session, for MySQL and for MariaDB: each runs only its own part of the comments.

    MySQL's `wait_timeout` ends every idle session, in a transaction or not: the pool replaces those that have ended.
    """
    lock, idle = max(1, math.ceil(settings.lock_timeout)), math.ceil(settings.idle_in_transaction_timeout)
    limit = settings.statement_timeout
    common = ["NAMES utf8mb4", "time_zone = '+00:00'", f"innodb_lock_wait_timeout = {lock}", f"lock_wait_timeout = {lock}"]
    if settings.sql_mode is not None:
        common.append(f"sql_mode = '{settings.sql_mode}'")
    mariadb = [
        f"max_statement_time = {limit:f}",
        f"idle_transaction_timeout = {idle}",
    ]
    mysql = [f"max_execution_time = {math.ceil(limit * 1000)}"]
    if idle:
        mysql.append(f"wait_timeout = {idle}")
    return f"SET {', '.join(common)} /*M!100100 , {', '.join(mariadb)} */ /*!80000 , {', '.join(mysql)} */"


def isolation_of(settings: MySQLSettings) -> str:
    """The statement for the sessions' isolation level: variables for it differ, and newer MariaDB warns of its old one."""
    return f"SET SESSION TRANSACTION ISOLATION LEVEL {settings.isolation}"


def check_server(version: str, sql_mode: str) -> None:
    """Refuse a server that is too old, or that cuts values instead of refusing them.

    Raises:
        ConfigurationError: It is.
    """
    kind = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    numbers = version.removeprefix("5.5.5-").split("-")[0].split(".")
    oldest = _OLDEST[kind]
    if tuple(int(number) for number in numbers[:2]) < oldest:
        wanted = ".".join(map(str, oldest))
        raise ConfigurationError(f"the server is {kind} {version}, which is too old", remedy=f"use {kind} {wanted} or later")
    if not is_strict(sql_mode):
        raise ConfigurationError(
            "the server's sql_mode is not strict: it cuts values that do not fit, without an error",
            remedy="add STRICT_TRANS_TABLES to the server's sql_mode, or give the setting `sql_mode`",
        )


def keep_alive(descriptor: int) -> None:
    """Let the kernel notice a network that is cut: no statement waits longer for it than half a minute."""
    with socket.socket(fileno=socket.dup(descriptor)) as end:
        if end.family == socket.AF_UNIX:
            return
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", _NETWORK_TIMEOUT),
            ("TCP_KEEPINTVL", _NETWORK_TIMEOUT // 3),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", _NETWORK_TIMEOUT * 1000),
        ):
            option = getattr(socket, name, None)  # not on every system
            if option is not None:
                end.setsockopt(socket.IPPROTO_TCP, option, value)


def descriptor_of(raw: Any, driver: Driver) -> int | None:
    """The file descriptor of a connection; None once it is closed, or is known to be at its end."""
    if driver == "mysqlclient":
        return raw.fileno()
    if driver == "pymysql":
        return None if raw._sock is None else raw._sock.fileno()
    # The event loop reads from it as well: what came while nobody asked is in the buffer, and the end is noted.
    if driver == "asyncmy":
        transport, state = raw._transport, raw._proto
        spent = state is None or state.eof or state.exc is not None or state.length > state.pos
    else:
        reader = raw._reader
        transport = None if raw._writer is None else raw._writer.transport
        spent = reader is None or reader.at_eof() or reader.exception() is not None or bool(reader._buffer)
    return None if spent or transport is None or transport.is_closing() else transport.get_extra_info("socket").fileno()


def _bounded(make: Callable[..., Awaitable[Any]], tls: str, timeout: float | None) -> Callable[..., Awaitable[Any]]:
    async def connect(**arguments: Any) -> Any:
        # Both drivers bound the TCP connection alone, and would wait for ever for a greeting that does not come. Two bounds that end
        # at the same time lose the socket between them.
        try:
            async with asyncio.timeout(timeout):
                return await make(tls, **arguments)
        except TimeoutError:
            raise TimeoutError(f"the server did not answer within {timeout:g} s") from None
        except (RuntimeError, ImportError) as error:
            if "cryptography" not in str(error):
                raise
            raise OperationalError(2061, RSA_MISSING) from error

    return connect


def _tls_context(tls: str, authorities: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authorities)
    if tls != "verify":
        context.check_hostname = False
    if tls not in ("verify", "authority"):
        context.verify_mode = ssl.CERT_NONE
    return context


def _authorities() -> str | None:
    found = ssl.get_default_verify_paths().cafile
    candidates = (found, *_BUNDLES) if found else _BUNDLES
    return next((path for path in candidates if Path(path).exists()), None)
