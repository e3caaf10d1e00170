"""What a SQL statement may cost: whether it can lose rows or values, however it is written."""

from __future__ import annotations

import re
from typing import Final

_EXECUTABLE: Final = re.compile(r"/\*M?!\d*(.*?)\*/", re.DOTALL)  # MySQL runs what stands in such a comment
_COMMENT: Final = re.compile(r"/\*.*?\*/|--[^\n]*|#(?![>\-])[^\n]*", re.DOTALL)
_LITERAL: Final = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_QUOTED: Final = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]\n]*\]')
_ROUTINE: Final = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b.*?\$(\w*)\$.*?\$\1\$|\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?"
    r"TRIGGER\b.*?\bBEGIN\b.*?\bEND\b",
    re.IGNORECASE | re.DOTALL,
)
_DYNAMIC: Final = re.compile(r"\b(?:EXECUTE|PREPARE|DO)\b", re.IGNORECASE)
_KEPT: Final = (  # what ALTER TABLE can drop without a loss
    "CONSTRAINT|INDEX|KEY|PRIMARY|FOREIGN|CHECK|DEFAULT|NOT|EXPRESSION|IDENTITY|OIDS|SYSTEM|PERIOD|TABLE"
)
_LOSSES: Final = re.compile(
    r"\bDROP\s+(?:FOREIGN\s+|TEMPORARY\s+)?(?:TABLE|COLUMN|SCHEMA|DATABASE|PARTITION|TABLESPACE|OWNED|EXTENSION)\b"
    r"|\bDROP\s+MATERIALIZED\s+VIEW\b"
    r"|\bDROP\s+(?:TYPE|DOMAIN|SEQUENCE|FUNCTION|VIEW)\b[^;]*\bCASCADE\b"
    rf"|\bALTER\s+(?:IGNORE\s+|FOREIGN\s+|ONLINE\s+)?TABLE\b[^;]*\bDROP\s+(?!(?:{_KEPT})\b)[\w\"`\[]"
    r"|\bTRUNCATE\b(?!\s*\()"
    r"|\bDELETE\s+(?:[\w.,*\"`\s]*?\s)?FROM\b"
    r"|\bTHEN\s+DELETE\b"
    r"|\bREPLACE\s+(?:LOW_PRIORITY\s+|DELAYED\s+)?INTO\b"
    r"|\b(?:INSERT|UPDATE)\s+OR\s+REPLACE\b"
    r"|\bCREATE\s+OR\s+REPLACE\s+TABLE\b"
    r"|\bDROP_CHUNKS\b",
    re.IGNORECASE,
)
_RETYPES: Final = re.compile(
    r"\bALTER\s+TABLE\b[^;]*(?:\bALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE\s+(?!(?:TEXT|BIGINT)\b(?![^;]*\bUSING\b))"
    r"|\b(?:MODIFY|CHANGE)\s+(?:COLUMN\s+)?)",
    re.IGNORECASE,
)


def loses(sql: str) -> bool:
    """Whether rows, columns or tables can be gone after it. An UPDATE is none: it overwrites values, as migrations of data do."""
    return _LOSSES.search(plain(sql)) is not None


def retypes(sql: str) -> bool:
    """Whether it changes the type of a column in a way that can lose values, as far as its text tells."""
    return _RETYPES.search(plain(sql)) is not None


def plain(sql: str) -> str:
    """The statement without comments, and without literals where none can be code. Quoted names become plain words."""
    text = _COMMENT.sub(" ", _EXECUTABLE.sub(r" \1 ", sql))
    if _DYNAMIC.search(_LITERAL.sub("''", text)) is None:
        text = _LITERAL.sub("''", text)
    return _ROUTINE.sub(" ", _QUOTED.sub("quoted_name", text))
