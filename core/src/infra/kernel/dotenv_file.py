"""Reading ``.env``: nothing in it vanishes, and what stands in single quotes is literal."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def read_dotenv(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables of a file, and what in it could not be read, a line each without any value.

    Args:
        path: The file.
        environ: For ``${NAME}``, below the file's own names.
    """
    from dotenv.parser import parse_stream
    from dotenv.variables import parse_variables

    try:
        data = path.read_bytes()
    except OSError as error:
        return {}, [f"{path.name} cannot be read: {error.strerror}"]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return {}, [f"{path.name} is UTF-16: save it as UTF-8"]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return {}, [f"{path.name} is not UTF-8 in line {data[: error.start].count(10) + 1}: save it as UTF-8"]
    found: dict[str, str] = {}
    wrong: list[str] = []
    for binding in parse_stream(io.StringIO(text, newline="")):
        line = binding.original.string.strip()
        if not line or line.startswith("#"):
            continue
        name = binding.key
        if binding.error or name is None or binding.value is None or not _NAME.fullmatch(name):
            word = _NAME.match(line.removeprefix("export "))
            number = binding.original.line + len(binding.original.string) - len(binding.original.string.lstrip("\r\n"))
            wrong.append(f"line {number} of {path.name}{f', {word[0]},' if word else ''} is not NAME=value")
            continue
        value = binding.value
        if not line.partition("=")[2].lstrip().startswith("'"):
            value = "".join(atom.resolve({**environ, **found}) for atom in parse_variables(value))
        if found.get(name, value) != value:
            wrong.append(f"{name} stands in {path.name} twice, with different values")
        found[name] = value
    return found, wrong
