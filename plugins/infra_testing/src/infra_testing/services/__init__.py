"""Launchers of private servers for tests, from the programs on this machine. They need no client library."""

from infra_testing.services.aimock import AimockServer
from infra_testing.services.mariadb import MariaDBServer
from infra_testing.services.mysql import MySQLServer
from infra_testing.services.pgbouncer import PgBouncerServer
from infra_testing.services.postgres import PostgresServer
from infra_testing.services.rabbitmq import RabbitMQServer
from infra_testing.services.redis import RedisServer
from infra_testing.services.s3 import MotoServer, RcloneServer
from infra_testing.services.server import Availability, MissingServiceError, Server, ServiceError, shared_server

SERVERS: tuple[type[Server], ...] = (
    PostgresServer,
    PgBouncerServer,
    MariaDBServer,
    MySQLServer,
    RedisServer,
    RabbitMQServer,
    MotoServer,
    RcloneServer,
    AimockServer,
)

__all__ = [
    "AimockServer",
    "Availability",
    "MariaDBServer",
    "MissingServiceError",
    "MotoServer",
    "MySQLServer",
    "PgBouncerServer",
    "PostgresServer",
    "RabbitMQServer",
    "RcloneServer",
    "RedisServer",
    "SERVERS",
    "Server",
    "ServiceError",
    "shared_server",
]
