"""The settings of ``[infra]``, checked like those of any resource; with the standard library, as they are read before plugins are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, cast

from infra.errors import nearest
from infra.kernel.layers import Layer, Origin, Value
from infra.kernel.problems import Problem

ENVIRONMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "development": ("dev", "devel", "develop"),
    "test": ("tests", "testing"),
    "staging": ("stage", "stg"),
    "production": ("prod", "prd"),
}
_TRUE: Final = ("true", "1", "yes", "on", "y", "t")
_FALSE: Final = ("false", "0", "no", "off", "n", "f")
_LEVELS: Final = ("CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "DEBUG", "NOTSET")
_SECTION: Final = re.compile(r"[a-z][a-z0-9_]*=[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?")
_UNIT: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSettings:
    """``[infra]``. A wrong value leaves its default, but a wrong ``environment`` is as strict as ``production``."""

    environment: str = "development"
    strict: bool = False
    debug: bool = False
    log_level: str = "INFO"
    plugins_allow: list[str] | None = None
    plugins_deny: list[str] = field(default_factory=list[str])
    pin: Mapping[str, str] = field(default_factory=dict[str, str])
    data_dir: str = ".infra"
    secrets_dir: str | None = None
    config: str | None = None
    modules: list[str] = field(default_factory=list[str])
    sections: list[str] = field(default_factory=list[str])
    close_timeout: float = 10.0


KERNEL_KEYS: Final = frozenset(one.name for one in fields(KernelSettings))


def truth(content: object) -> bool | None:
    """The truth of a configured flag, in any usual spelling; None for anything else."""
    word = str(content).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def as_list(content: object) -> list[str]:
    """A list, or the items of text separated by commas, or of a JSON list."""
    if isinstance(content, list | tuple):
        return [str(item) for item in cast("Iterable[object]", content)]
    text = str(content).strip()
    if text.startswith("["):
        import json

        try:
            return [str(item) for item in json.loads(text)]
        except ValueError:
            pass
    return [item.strip() for item in text.split(",") if item.strip()]


def _environment(content: object) -> str:
    word = content.strip().lower() if isinstance(content, str) else ""
    for name, short in ENVIRONMENTS.items():
        if word == name or word in short:
            return name
    known = [f"{name} ({', '.join(short)})" for name, short in ENVIRONMENTS.items()]
    raise ValueError(f"is not one of {', '.join(known)}")


def _flag(content: object) -> bool:
    found = truth(content) if isinstance(content, bool | int | str) else None
    if found is None:
        raise ValueError("is neither true nor false: write true, 1, yes or on, or false, 0, no or off")
    return found


def _level(content: object) -> str:
    word = str(content).strip().upper()
    if isinstance(content, str) and word in _LEVELS:
        return word
    raise ValueError(f"is no level of logging: {', '.join(_LEVELS)}")


def _list(content: object) -> list[str]:
    if isinstance(content, str):
        return as_list(content)
    if isinstance(content, list | tuple) and all(isinstance(one, str) for one in cast("Iterable[object]", content)):
        return as_list(cast(object, content))
    raise ValueError('is no list of names, such as ["a", "b"] or "a,b"')


def _sections(content: object) -> list[str]:
    found = _list(content)
    if not all(_SECTION.fullmatch(one) for one in found):
        raise ValueError('is no list of sections, such as ["api=app.settings:ApiSettings"]')
    return found


def _path(content: object) -> str:
    import os

    if isinstance(content, str | os.PathLike) and str(cast(object, content)).strip():
        return str(cast(object, content))
    raise ValueError("is no path")


def _seconds(content: object) -> float:
    match = _DURATION.fullmatch(str(content).strip().lower())
    if isinstance(content, bool) or match is None or not math.isfinite(found := float(match[1]) * _UNIT[match[2]]):
        raise ValueError("is no duration: write seconds, or text such as 10s")
    return found


_PARSERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "environment": _environment,
    "strict": _flag,
    "debug": _flag,
    "log_level": _level,
    "plugins_allow": _list,
    "plugins_deny": _list,
    "data_dir": _path,
    "secrets_dir": _path,
    "config": _path,
    "modules": _list,
    "sections": _sections,
    "close_timeout": _seconds,
}


def read_kernel_settings(layers: list[Layer], capabilities: Iterable[str] = ()) -> tuple[KernelSettings, list[Problem]]:
    """The settings of ``[infra]`` from all layers, and what is wrong with them; every value of every layer is looked at."""
    found: dict[str, Any] = {}
    pins: dict[str, str] = {}
    problems: list[Problem] = []
    for layer in layers:
        for key, value in layer.values.items():
            if key[0] != "infra" or value.content == {}:
                continue
            name = key[1] if len(key) > 1 else ""
            message = _take(key, name, value, found, pins)
            if message is not None:
                problems.append(Problem("settings", message, value.origin, _remedy(key, name, value.origin, capabilities)))
    if any(problem.message.startswith("environment ") for problem in problems):
        found["environment"] = "production"
    if any(problem.message.startswith("plugins_allow ") for problem in problems):
        found["plugins_allow"] = []
    return KernelSettings(**found, pin=pins), problems


def _take(key: tuple[str, ...], name: str, value: Value, found: dict[str, Any], pins: dict[str, str]) -> str | None:
    """Take a value, unless a higher layer had it; what is wrong with it."""
    if not name:
        return "infra is a table of settings, not a value"
    if name == "pin":
        pinned = ".".join(key[2:])
        if "." not in pinned or not isinstance(value.content, str):
            return 'pin is a table such as {"cache.redis" = "infra-redis"}'
        pins.setdefault(pinned, value.content)
        return None
    if name not in KERNEL_KEYS:
        return f"{name} is not a setting of the kernel"
    if len(key) > 2:
        return f"{name} is one value, not a table"
    if value.content == "" and name not in ("plugins_allow", "plugins_deny"):
        return None  # an empty variable sets nothing
    try:
        parsed = _PARSERS[name](value.content)
    except ValueError as error:
        return f"{name} {error}"
    found.setdefault(name, parsed)
    return None


def _remedy(key: tuple[str, ...], name: str, origin: Origin, capabilities: Iterable[str]) -> str | None:
    if name in KERNEL_KEYS or not name:
        return None
    for capability in capabilities:
        if name == capability:
            return f"write [{'.'.join(key[1:-1]) or capability}], without `infra`"
        if name.startswith(f"{capability}_") and origin.where.upper().endswith(f"INFRA_{name}".upper()):
            rest = name.removeprefix(f"{capability}_").split("_")
            return f"did you mean INFRA_{'__'.join([capability, *(['main'] if len(rest) == 1 else []), *rest]).upper()}?"
    near = nearest(name, KERNEL_KEYS)
    return f"did you mean {near}?" if near else None
