"""Reading the layers of configuration, with the standard library only; every value keeps its origin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from infra.errors import ConfigurationError

PREFIX: Final = "INFRA_"

#: Where a value stands: ("database", "main", "url"); ("infra", "environment") for the kernel's own.
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: the layer, and the variable or the file and key."""

    layer: str
    where: str

    def __str__(self) -> str:
        return self.where if self.where.startswith(self.layer) or self.layer == "environment" else f"{self.layer}: {self.where}"


@dataclass(frozen=True, slots=True)
class Value:
    """A configured value, not validated yet.

    Args:
        content: Text for everything that comes from the environment, a .env file or a secrets folder.
        origin: Where it stands.
        file: The file that holds just this value, in a secrets folder; secrets keep it as a reference.
    """

    content: object
    origin: Origin
    file: str | None = None


@dataclass(slots=True, eq=False)
class Layer:
    """One source of configuration, complete in itself.

    Args:
        name: ``arguments``, ``environment``, ``.env``, ``secrets``, ``infra.toml`` or a plugin's source.
        values: What it says under the kernel's own names.
        variables: All names it holds, for the well-known ones; only in environment-like layers.
    """

    name: str
    values: dict[Key, Value] = field(default_factory=dict[Key, Value])
    variables: dict[str, Value] = field(default_factory=dict[str, Value])
    #: What it holds and could not be read: message and remedy.
    unread: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, "str | None"]])
    #: The same of single names, which may mean nothing to this program: name, message and remedy.
    doubtful: list[tuple[str, str, str | None]] = field(default_factory=list[tuple[str, str, "str | None"]])

    def under(self, prefix: Key) -> dict[Key, Value]:
        """The values below `prefix`, by the rest of their key."""
        size = len(prefix)
        return {key[size:]: value for key, value in self.values.items() if key[:size] == prefix and len(key) > size}


def flatten(tree: Mapping[str, Any], prefix: Key = ()) -> Iterator[tuple[Key, object]]:
    """The leaves of nested mappings; an empty mapping is a leaf."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(cast("Mapping[str, Any]", value), (*prefix, name))
        else:
            yield (*prefix, name), cast(object, value)


def nest(leaves: Mapping[Key, object]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        place = tree
        for name in key[:-1]:
            inner = place.get(name)
            if not isinstance(inner, dict):
                inner = place[name] = {}
            place = cast("dict[str, Any]", inner)
        place.setdefault(key[-1], value)
    return tree


def arguments_layer(settings: Mapping[str, Any]) -> Layer:
    """Settings given in code."""
    return Layer("arguments", {key: Value(content, Origin("arguments", ".".join(key))) for key, content in flatten(settings)})


def variables_layer(name: str, variables: Mapping[str, str], file: Mapping[str, str] | None = None) -> Layer:
    """An environment, a .env file, or a secrets folder."""
    layer = Layer(name)
    spelt: dict[str, str] = {}
    for variable, content in variables.items():
        upper = variable.upper()
        other = spelt.setdefault(upper, variable)
        if other != variable and variables[other] != content:
            layer.doubtful.append((upper, f"{other} and {variable} ({name}) differ only in case, and have different values", "remove one"))
        where = variable if name == "environment" else f"{name} {variable}"
        value = Value(content, Origin(name, where), (file or {}).get(variable))
        if upper.startswith(PREFIX):
            parts = tuple(part.lower() for part in upper[len(PREFIX) :].split("__"))
            if not all(part.strip("_") == part and part for part in parts):
                better = PREFIX + re.sub("_{2,}", "__", upper[len(PREFIX) :]).strip("_")
                layer.unread.append((f"{where} has underscores too many", f"did you mean {better}?"))
            else:
                layer.values[parts if len(parts) > 1 and parts[0] != "pin" else ("infra", *parts)] = value
        else:
            layer.variables[upper] = value
    return layer


def dotenv_layer(path: Path, environ: Mapping[str, str]) -> Layer | None:
    """A .env file; None when there is none."""
    if not os.path.lexists(path) or path.is_dir():  # a folder of that name is a virtual environment
        return None
    from infra.kernel.dotenv_file import read_dotenv

    variables, wrong = read_dotenv(path, environ)
    layer = variables_layer(path.name, variables)
    layer.unread += [(message, None) for message in wrong]
    return layer


def secrets_layer(folder: Path, origin: Origin) -> Layer:
    """A folder with one file for each variable, such as /run/secrets."""
    texts: dict[str, str] = {}
    unread: list[tuple[str, str]] = []
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        layer = Layer("secrets")
        layer.unread.append(
            (f"secrets_dir {folder} cannot be read: {error.strerror} ({origin})", "correct secrets_dir, or create the folder")
        )
        return layer
    for path in files:
        try:
            if path.is_file():
                texts[path.name] = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
        except OSError as error:
            unread.append((path.name, f"{path} cannot be read: {error.strerror}"))
        except UnicodeDecodeError:
            unread.append((path.name, f"{path} is not UTF-8"))
    layer = variables_layer("secrets", texts, {path.name: str(path) for path in files})
    layer.doubtful += [(name.upper(), message, "repair it, or take it out of the folder") for name, message in unread]
    return layer


def toml_layer(root: Path, given: Path | None = None) -> Layer | None:
    """infra.toml, else ``[tool.infra]`` in pyproject.toml; None when there is neither."""
    path = given or root / "infra.toml"
    if os.path.lexists(path):
        tree = _parse(path)
    elif given is not None:
        raise ConfigurationError(f"{given} does not exist", remedy="correct INFRA_CONFIG, or create the file")
    else:
        path = root / "pyproject.toml"
        tree = cast("dict[str, Any]", _parse(path).get("tool", {}).get("infra", {})) if path.is_file() else {}
        if not tree:
            return None
    layer = Layer(path.name)
    prefix = ("tool", "infra") if path.name == "pyproject.toml" else ()
    for key, content in flatten(tree):
        table, name = (".".join((*prefix, *key[:-1])), key[-1]) if content != {} else (".".join((*prefix, *key)), "")
        layer.values[key] = Value(content, Origin(path.name, f"{path.name} [{table}] {name}".rstrip()))
    return layer


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", remedy="check its permissions") from None
    if data.startswith(b"\xef\xbb\xbf"):
        text = f"{path.name} is not valid TOML: it begins with a byte order mark (BOM)"
        raise ConfigurationError(text, remedy="save it as UTF-8 without BOM")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigurationError(f"{path.name} is not valid TOML: it is UTF-16", remedy="save it as UTF-8")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data[: error.start].count(10) + 1
        raise ConfigurationError(f"{path.name} is not valid TOML: it is not UTF-8 (at line {line})", remedy="save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        said, found, place = str(error).partition(" (at ")
        # Keys and single characters are all that the parser quotes; anything longer might hold a secret.
        cause = re.sub(r"'[^']{40,}'", "...", said)[:120] if found else ""
        cause = "a key stands there twice" if cause == "Cannot overwrite a value" else cause
        text = f"{path.name} is not valid TOML (at {place}" + (f": {cause}" if cause else "")
        raise ConfigurationError(text if found else f"{path.name} is not valid TOML", remedy="correct the syntax there") from None


def read_layers(settings: Mapping[str, Any], root: Path, environ: Mapping[str, str] | None = None, env_file: str = ".env") -> list[Layer]:
    """All layers, the highest first. The places of files come from the layers above them."""
    layers = [arguments_layer(settings), variables_layer("environment", dict(os.environ if environ is None else environ))]
    process = os.environ if environ is None else environ
    layers += [layer for layer in (dotenv_layer(root / env_file, process),) if layer is not None]
    folder = lookup(layers, ("infra", "secrets_dir"))
    config = lookup(layers, ("infra", "config"))
    toml = toml_layer(root, Path(root, str(config.content)) if config and config.content != "" else None)
    if folder is None and toml is not None:
        folder = toml.values.get(("infra", "secrets_dir"))
    secrets = secrets_layer(Path(root, str(folder.content)), folder.origin) if folder is not None and folder.content != "" else None
    return [*layers, *(layer for layer in (secrets, toml) if layer is not None)]


def lookup(layers: list[Layer], key: Key) -> Value | None:
    """The value of the highest layer that has `key`."""
    return next((layer.values[key] for layer in layers if key in layer.values), None)
