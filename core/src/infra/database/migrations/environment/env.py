"""What Alembic runs for every command; `infra.database.migrations` has put all it needs into the configuration."""

from alembic import context

context.config.attributes["run"](context)
