"""MySQL and MariaDB databases. Descriptors only."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Provider, hookimpl


@hookimpl
def infra_database() -> Sequence[Provider]:
    """MySQL and MariaDB."""
    return [
        Provider(
            name="mysql",
            summary="MySQL and MariaDB through PyMySQL and asyncmy, or mysqlclient and aiomysql",
            settings="infra_mysql.settings:MySQLSettings",
            open="infra_mysql.driver:open_driver",
            open_async="infra_mysql.driver:open_driver_async",
            schemes=("mysql", "mariadb"),
            modules=("pymysql", "asyncmy"),
            telemetry_system="mysql",
            docs="docs/providers/mysql.md",
        )
    ]
