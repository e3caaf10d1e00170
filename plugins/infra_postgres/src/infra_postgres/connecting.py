"""How to connect: the URL, and the arguments of each DBAPI."""

from __future__ import annotations

import math
import socket
import ssl
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import URL

from infra_postgres.settings import PostgresSettings, option_values

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
    authority = bool(settings.tls_ca) and tls in ("require", "prefer")  # who names an authority wants it asked
    session = session_settings(settings)
    pooled = settings.pooler is not None
    if pooled:
        session = {"application_name": settings.application_name}
    if is_async and settings.driver == "asyncpg":
        given: dict[str, Any] = {
            "timeout": settings.connect_timeout or None,
            "server_settings": session,
            "ssl": _asyncpg_tls("authority" if authority else tls, settings.tls_ca),
        }
        if settings.target_session_attrs:
            given["target_session_attrs"] = settings.target_session_attrs
        if settings.hosts:
            places = [_host_and_port(one) for one in settings.hosts]
            given |= {"host": [host for host, _ in places], "port": [int(port) for _, port in places]}
        if pooled:  # the next transaction may be another server session's, which has not prepared it
            given |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": _unique_name}
        return given
    arguments: dict[str, Any] = {
        "application_name": session.pop("application_name"),
        "connect_timeout": math.ceil(settings.connect_timeout),
        "client_encoding": "utf8",
        "sslmode": _SSL_MODES[tls],
        "keepalives_idle": _NETWORK_TIMEOUT,
        "keepalives_interval": _NETWORK_TIMEOUT // 3,
        "keepalives_count": 3,
        "tcp_user_timeout": _NETWORK_TIMEOUT * 1000,
    }
    if pooled:
        arguments["prepare_threshold"] = None
    else:
        arguments["options"] = " ".join(f"-c {name}={_escape(value)}" for name, value in session.items())
    if settings.hosts:
        places = [_host_and_port(one) for one in settings.hosts]
        arguments |= {"host": ",".join(host for host, _ in places), "port": ",".join(port for _, port in places)}
    for name in ("target_session_attrs", "channel_binding"):
        if getattr(settings, name):
            arguments[name] = getattr(settings, name)
    if authority:
        arguments["sslmode"] = "verify-ca"
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
        **(option_values(settings.options) if settings.options else {}),
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
    if tls != "verify":
        context.check_hostname = False
    if tls == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


def _host_and_port(place: str) -> tuple[str, str]:
    host, colon, port = place.rpartition(":")
    return (host, port) if colon and port.isdigit() else (place, "5432")


def _unique_name() -> str:
    return f"__infra_{uuid4().hex}__"
