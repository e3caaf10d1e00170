"""How to connect: the URL, and the arguments of each DBAPI."""

from __future__ import annotations

import math
import socket
import ssl
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL

from infra_postgres.settings import PostgresSettings

#: Where Linux distributions keep the certificate authorities that the machine trusts.
_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
#: libpq's names of our words.
_SSL_MODES: Final = {"verify": "verify-full", "require": "require", "prefer": "prefer", "disable": "disable"}
#: Seconds without an acknowledgement after which the network is taken to be cut.
_NETWORK_TIMEOUT: Final = 30


def make_url(settings: PostgresSettings, is_async: bool) -> URL:
    """The URL for one door's DBAPI."""
    return URL.create(
        "postgresql+asyncpg" if is_async and settings.driver == "asyncpg" else "postgresql+psycopg",
        username=settings.username,
        password=settings.password.reveal() if settings.password is not None else None,
        host=settings.host,
        port=settings.port,
        database=settings.database,
    )


def connect_arguments(settings: PostgresSettings, is_async: bool, production: bool) -> dict[str, Any]:
    """Arguments of the DBAPI's ``connect``. Session settings travel with the first packet: they cost no round trip."""
    tls = settings.tls or ("verify" if production else "prefer")
    session = session_settings(settings)
    if is_async and settings.driver == "asyncpg":
        return {"timeout": settings.connect_timeout or None, "server_settings": session, "ssl": _asyncpg_tls(tls, settings.tls_ca)}
    arguments: dict[str, Any] = {
        "application_name": session.pop("application_name"),
        "options": " ".join(f"-c {name}={_escape(value)}" for name, value in session.items()),
        "connect_timeout": math.ceil(settings.connect_timeout),
        "client_encoding": "utf8",
        "sslmode": _SSL_MODES[tls],
        "keepalives_idle": _NETWORK_TIMEOUT,
        "keepalives_interval": _NETWORK_TIMEOUT // 3,
        "keepalives_count": 3,
        "tcp_user_timeout": _NETWORK_TIMEOUT * 1000,
    }
    if tls == "verify":
        arguments["sslrootcert"] = settings.tls_ca or _authorities()
    elif settings.tls_ca:
        arguments["sslrootcert"] = settings.tls_ca
    return arguments


def keep_alive(raw: Any) -> None:
    """Let the kernel give up a connection of asyncpg whose packets nobody acknowledges; libpq does it by its own parameters."""
    connection: socket.socket | None = raw._transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = {"TCP_KEEPIDLE": _NETWORK_TIMEOUT, "TCP_KEEPINTVL": _NETWORK_TIMEOUT // 3, "TCP_KEEPCNT": 3}
    for name, value in {**seconds, "TCP_USER_TIMEOUT": _NETWORK_TIMEOUT * 1000}.items():
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def session_settings(settings: PostgresSettings) -> dict[str, str]:
    """The server's own settings of every session, by their names in postgresql.conf."""
    return {
        "application_name": settings.application_name,
        "TimeZone": "UTC",
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
        "default_transaction_isolation": settings.isolation.lower(),
        "jit": "on" if settings.jit else "off",
    }


def _milliseconds(seconds: float) -> str:
    return str(math.ceil(seconds * 1000))  # rounded up: 0 would be no limit


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _authorities() -> str:
    found = ssl.get_default_verify_paths().cafile
    candidates = (found, *_BUNDLES) if found else _BUNDLES
    return next((path for path in candidates if Path(path).exists()), "system")


def _asyncpg_tls(tls: str, authorities: str | None) -> Any:
    if tls == "disable":
        return False
    if tls == "prefer":
        return "prefer"
    context = ssl.create_default_context(cafile=authorities)
    if tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
