"""What counts as losing data, before a revision runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy

from infra.database.migrations.drops import drops

# What can lose data, however it is written; each as the body of an upgrade.
LOSSES = [
    'op.execute("drop  table note")',
    'op.execute("/* why */ Drop /**/ Table note")',
    'op.execute("SELECT 1; DROP -- now\\n TABLE note")',
    'op.execute("/*!50000 DROP TABLE note */")',
    'op.execute("ALTER TABLE note DROP title")',
    'op.execute("ALTER TABLE note ADD extra TEXT, DROP COLUMN title")',
    'op.execute("ALTER TABLE note ALTER COLUMN title TYPE VARCHAR(3)")',
    'op.execute("ALTER TABLE note MODIFY title VARCHAR(3)")',
    'op.execute("truncate note")',
    'op.execute("DELETE FROM note")',
    'op.execute("delete from note where id = 1")',
    'op.execute("DELETE n FROM note n JOIN other o ON o.id = n.id")',
    'op.execute("WITH gone AS (DELETE FROM note RETURNING id) SELECT * FROM gone")',
    "op.execute(\"DO $$ BEGIN EXECUTE 'DROP TABLE note'; END $$\")",
    'op.execute("DROP TYPE mood CASCADE")',
    'op.execute("REPLACE INTO note VALUES (1)")',
    'op.execute(sa.text("DELETE FROM note"))',
    'op.get_bind().exec_driver_sql("DELETE FROM note")',
    "op.execute(sa.table('note').delete())",
    "op.execute(sa.delete(sa.table('note')))",
    'op.execute(f"DROP TABLE {revision}")',
    'op.execute("DROP " + "TABLE note")',
    "op.drop_column('note', 'title')",
    "op.alter_column('note', 'title', existing_type=sa.String(100), type_=sa.String(10))",
    "op.alter_column('note', 'title', existing_type=sa.BigInteger(), type_=sa.Integer())",
    "op.alter_column('note', 'title', existing_type=sa.Numeric(12, 4), type_=sa.Numeric(12, 2))",
    "op.alter_column('note', 'title', type_=sa.String(10))",
    "sa.MetaData().drop_all(op.get_bind())",
]
HARMLESS = [
    'op.execute("CREATE TABLE deleted (truncated INTEGER)")',
    'op.execute("ALTER TABLE note ADD CONSTRAINT c FOREIGN KEY (id) REFERENCES o (id) ON DELETE CASCADE")',
    'op.execute("ALTER TABLE note ALTER COLUMN title DROP NOT NULL")',
    'op.execute("ALTER TABLE note DROP CONSTRAINT c")',
    'op.execute("ALTER TABLE note ALTER COLUMN id TYPE BIGINT")',
    'op.execute("DROP INDEX ix_note")',
    'op.execute("DROP TYPE mood")',
    'op.execute("UPDATE note SET title = lower(title)")',
    "op.execute(\"INSERT INTO note VALUES ('drop table x; delete from y')\")",
    "op.alter_column('note', 'title', existing_type=sa.String(10), type_=sa.String(100))",
    "op.alter_column('note', 'title', existing_type=sa.Integer(), type_=sa.BigInteger())",
    "op.alter_column('note', 'title', existing_type=sa.String(10), nullable=True)",
]


@pytest.mark.parametrize(("body", "refused"), [*((body, True) for body in LOSSES), *((body, False) for body in HARMLESS)])
def test_what_can_lose_data_is_found_however_it_is_written(tmp_path: Path, body: str, refused: bool) -> None:
    path = tmp_path / "revision.py"
    path.write_text(f"def upgrade() -> None:\n    {body}\n\n\ndef downgrade() -> None:\n    pass\n")
    step: Any = SimpleNamespace(path=path, module=SimpleNamespace(sa=sqlalchemy))
    assert bool(drops(step, "upgrade")) is refused
    assert drops(step, "downgrade") == []
