"""Migrations: Alembic, with a lineage, a version table and a lock for each named database."""

from infra.database.migrations.commands import check as check
from infra.database.migrations.commands import current as current
from infra.database.migrations.commands import downgrade as downgrade
from infra.database.migrations.commands import revision as revision
from infra.database.migrations.commands import upgrade as upgrade
from infra.database.migrations.discovery import load_metadata as load_metadata
from infra.database.migrations.enums import alter_enum as alter_enum
from infra.database.migrations.errors import DropRefusedError as DropRefusedError
from infra.database.migrations.errors import MigrationError as MigrationError
from infra.database.migrations.model import Check as Check
from infra.database.migrations.model import Current as Current
from infra.database.migrations.model import Finding as Finding
from infra.database.migrations.model import Problem as Problem
from infra.database.migrations.model import Source as Source
