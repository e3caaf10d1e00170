"""What the numbers of MySQL's and MariaDB's errors mean.

Sources: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html and https://mariadb.com/kb/en/mariadb-error-code-reference/
"""

from __future__ import annotations

import re
from typing import Final

from infra.database.model import Failure, Fault
from infra_mysql.dialects import RSA_MISSING

_MODULES: Final = frozenset({"pymysql", "MySQLdb", "asyncmy", "aiomysql"})
_NUMBERS: Final[dict[Fault, tuple[int, ...]]] = {
    Fault.UNAUTHENTICATED: (1045, 1130, 1251, 1698, 1820, 1862, 2059, 2061, 3118, 3955, 4151),
    Fault.PERMISSION: (1044, 1142, 1143, 1227, 1370, 1410, 1873, 1879),
    Fault.UNIQUE: (1022, 1062, 1169, 1586, 1859),
    Fault.FOREIGN_KEY: (1216, 1217, 1451, 1452, 1701, 1761, 1762),
    Fault.NOT_NULL: (1048, 1263, 1364, 1566),
    Fault.CHECK: (3819, 4025),
    Fault.DEADLOCK: (1213, 1479, 1614),
    Fault.SERIALIZATION: (1020, 1412, 1615),
    Fault.LOCK_TIMEOUT: (1205, 3058, 3132, 3572),
    Fault.STATEMENT_TIMEOUT: (1907, 1969, 3024),
    Fault.CANCELLED: (1317,),
    Fault.READ_ONLY: (1290, 1792, 1836, 3100, 3989),
    Fault.DATA: (
        *(1153, 1264, 1265, 1292, 1365, 1366, 1367, 1406, 1411, 1416, 1425, 1426, 1427, 1439, 1441, 1525),
        *(1690, 3140, 3141, 3144, 3156, 3157, 4037, 4038, 4039, 4040, 4041, 4078, 4079),
    ),
    Fault.STATEMENT: (
        *(1046, 1050, 1051, 1052, 1054, 1056, 1060, 1061, 1063, 1064, 1065, 1066, 1068, 1069, 1071, 1072, 1075, 1091, 1103, 1109, 1110),
        *(1111, 1112, 1113, 1115, 1136, 1140, 1146, 1149, 1166, 1193, 1210, 1215, 1222, 1231, 1232, 1235, 1241, 1242, 1247, 1248, 1305),
        *(1318, 1327, 1347, 1356, 1363, 1424, 1630, 1901, 3105, 3820, 4161),
    ),
    Fault.LIMIT: (1021, 1026, 1037, 1038, 1040, 1041, 1114, 1135, 1203, 1206, 1226, 1637),
    Fault.CORRUPT: (1033, 1034, 1035, 1194, 1195, 1459, 1712),
    # 1927 and 3169: somebody killed it; 1053: the server ends; 4031: idle for longer than wait_timeout
    Fault.MISSING: (1049,),
    Fault.CONNECTION: (1043, 1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 3169, 4031),
}
_FAULTS: Final = {number: fault for fault, numbers in _NUMBERS.items() for number in numbers}
#: Connection errors of servers that leave open what became of a COMMIT. The clients' own (2006, 2013 and the like) all do.
_COMMIT_UNKNOWN: Final = frozenset({1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 3169})
#: Errors after which a savepoint does not help: the server rolled back the whole transaction, or may have (innodb_rollback_on_timeout).
_WHOLE: Final = frozenset({Fault.DEADLOCK, Fault.SERIALIZATION, Fault.LOCK_TIMEOUT})
_CONSTRAINTS: Final = {
    Fault.UNIQUE: re.compile(r"for key '(?:[^']*\.)?([^'.]+)'"),
    Fault.FOREIGN_KEY: re.compile(r"CONSTRAINT `([^`]+)`"),
    Fault.NOT_NULL: re.compile(r"(?:Column|Field) '([^']+)'"),
    Fault.CHECK: re.compile(r"(?:CONSTRAINT|constraint) [`']([^`']+)[`']"),
}
_CLASSES: Final = {
    "DataError": Fault.DATA,
    "IntegrityError": Fault.INTEGRITY,
    "ProgrammingError": Fault.STATEMENT,
    "NotSupportedError": Fault.STATEMENT,
}
#: What the drivers say, without a number, of a connection that they have closed: nothing was sent.
_CLOSED: Final = ("closed", "not connected", "cancelled during execution")
#: What they say of one that they lost count of.
_BROKEN: Final = ("packet sequence", "network operation failed", "out of sync")
#: Why a session did not come to stand: what is said, our words, and the settings that it is about where they are not the usual ones.
_REASONS: Final[tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...]] = (
    (
        re.compile(r"Access denied for user (?P<it>'[^']*')@.* to database (?P<database>'[^']*')"),
        "user {it} may not use database {database}",
        ("username", "database"),
    ),
    (
        re.compile(r"Access denied for user (?P<it>'[^']*')@.*password: NO"),
        "the server wants a password of user {it}, or another user",
        ("username", "password"),
    ),
    (re.compile(r"Access denied for user (?P<it>'[^']*')@"), "wrong user name or password, of user {it}", ("username", "password")),
    (re.compile(r"Host '.*' is not allowed to connect"), "the server lets no user in from this host", ("host", "username")),
    (re.compile(r"Unknown database (?P<it>'[^']*')"), "there is no database {it}", ()),
    (re.compile(r"Too many connections|max_user_connections"), "the server has no connection left", ()),
    (re.compile(r"certificate verify failed:? ?(?P<it>[\w\s-]*)"), "its certificate is not trusted ({it})", ("tls", "tls_ca")),
    (re.compile(r"(SSL|TLS)[\w ]* is required"), "the server does not speak TLS, and `tls` asks for it", ("tls",)),
    (re.compile(r"Unknown (MySQL |MariaDB )?server host|getaddrinfo|Name or service not known"), "unknown host", ("host",)),
    (re.compile(r"Can't connect to .*\((111|61)\b"), "connection refused", ()),
    (re.compile(r"Can't connect to .*\((110|60)\b|did not answer"), "no answer in time", ()),
    (re.compile(r"Can't connect to .*\(115\b"), "connection refused, or no answer in time", ()),  # the C library does not tell which
)
_RSA: Final = "pip install 'infra-mysql[rsa]', or let `tls` protect the connection"
#: Faults that a refused session can be.
_OF_SESSIONS: Final = frozenset({Fault.UNAUTHENTICATED, Fault.MISSING, Fault.PERMISSION, Fault.CONNECTION, Fault.LIMIT})


def classify(error: BaseException) -> Failure | None:
    """What an exception of one of the four drivers means; None when it is none of theirs."""
    classes = [kind for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in _MODULES]
    if not classes:
        return None
    first = error.args[0] if error.args else None
    number = first if isinstance(first, int) else 0
    text = str(error.args[1] if number and len(error.args) > 1 else error)
    if not number:
        return _without_number(text, classes)
    if RSA_MISSING in text:
        return Failure(fault=Fault.UNAUTHENTICATED, code=str(number), reason=RSA_MISSING, remedy=_RSA, settings=("tls",))
    if 2000 <= number < 2100 and number not in _FAULTS:
        reason, settings = _reason(text)
        return Failure(fault=Fault.CONNECTION, code=str(number), commit_unknown=True, reason=reason, settings=settings)
    if number == 1305 and text.upper().startswith("SAVEPOINT"):
        return Failure(fault=Fault.SAVEPOINT_LOST, code=str(number), ends_transaction=True)
    if number == 1290 and "read-only" not in text and "read_only" not in text:
        return Failure(fault=Fault.PERMISSION, code=str(number))  # another option of the server forbids it
    fault = _FAULTS.get(number) or _class_of(classes)
    reason, settings = _reason(text) if fault in _OF_SESSIONS else (None, ())
    pattern = _CONSTRAINTS.get(fault)
    found = pattern.search(text) if pattern is not None else None
    return Failure(
        fault=fault,
        code=str(number),
        constraint=found[1] if found else None,
        ends_transaction=fault in _WHOLE,
        commit_unknown=number in _COMMIT_UNKNOWN,
        reason=reason,
        settings=settings,
    )


def _reason(text: str) -> tuple[str | None, tuple[str, ...]]:
    for pattern, words, settings in _REASONS:
        if found := pattern.search(text):
            return words.format_map(found.groupdict()), settings
    return None, ()


def _without_number(text: str, classes: list[type]) -> Failure:
    said = text.lower()
    if any(word in said for word in _BROKEN):
        return Failure(fault=Fault.CONNECTION, commit_unknown=True)
    names = {kind.__name__ for kind in classes}
    if "can not be used" in said:
        return Failure(fault=Fault.DATA)
    if any(word in said for word in _CLOSED) or "InterfaceError" in names:
        return Failure(fault=Fault.CONNECTION)
    return Failure(fault=_class_of(classes))


def _class_of(classes: list[type]) -> Fault:
    return next((_CLASSES[kind.__name__] for kind in classes if kind.__name__ in _CLASSES), Fault.OTHER)
