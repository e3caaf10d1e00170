"""What a plugin may return and declare. Whatever else it does is told in one line, and costs that plugin alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from itertools import islice
from typing import Any, Final, cast

from infra.plugin import Capability, Provider

_MOST: Final = 1000  # results of one hook: an endless generator must end
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_CAPABILITY: Final = re.compile(r"[a-z][a-z0-9_]*")
_REFERENCE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_COMMAND: Final = re.compile(r"(?:[A-Za-z0-9][\w-]*=)?" + _REFERENCE.pattern)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

#: A check of a value: None when it is right, else what it should be.
Check = Callable[[object], "str | None"]


class ShapeError(TypeError):
    """A hook returned, or a descriptor holds, something else than it should; the message says what and what instead."""


def describe(error: BaseException) -> str:
    """An exception of a plugin in one line, whatever its own ``__str__`` does."""
    try:
        text = " ".join(str(error).split())[:200]
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def items_of(hook: str, result: object) -> list[Any]:
    """The items of a collecting hook's result; none for None.

    Raises:
        ShapeError: It is no sequence of items, or an endless one.
        BaseException: What a generator raised.
    """
    if result is None:
        return []
    if isinstance(result, str | bytes | dict) or not isinstance(result, Iterable):
        raise ShapeError(f"{hook} returned {_article(cast(object, result))}, not a list")
    found = list(islice(cast("Iterable[Any]", result), _MOST + 1))
    if len(found) > _MOST:
        raise ShapeError(f"{hook} returned more than {_MOST:,} items")
    return found


def wrong_item(hook: str, item: object, kind: type | None) -> str | None:
    """What is wrong with one item of a hook's result; None when it is a `kind`."""
    if kind is not None and not isinstance(item, kind):
        return f"{hook} returned {_article(item)}, not {kind.__name__} objects"
    if hook == "infra_commands" and isinstance(item, str) and not _COMMAND.fullmatch(item):
        return f'{hook} returned {item[:60]!r}, which is no "module:attribute" or "name=module:attribute"'
    places = ("infra_database_models", "infra_routers")
    if hook in places and isinstance(item, str) and not (_MODULE.fullmatch(item) or _is_reference(item)):
        return f'{hook} returned {item[:60]!r}, which is no "module:attribute"'
    if hook == "infra_config_sources" and not (isinstance(getattr(item, "name", None), str) and callable(getattr(item, "read", None))):
        return f"{hook} returned {_article(item)} without a `name` and a `read()`"
    if hook == "infra_health_checks":
        return _wrong_check(hook, item)
    return None


def checked_provider(descriptor: Provider) -> tuple[Provider, list[str]]:
    """A descriptor whose fields have the types that they should, and what was wrong with those that had not.

    Raises:
        ShapeError: Its name is no name.
    """
    if not isinstance(descriptor.name, str) or not _NAME.fullmatch(descriptor.name):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ShapeError(f"a Provider's name is {_shown(descriptor.name)}, not a word such as 'redis'")
    wrong = _wrong_fields(descriptor, _PROVIDER)
    if not wrong:
        return descriptor, []
    sound: dict[str, Any] = {field.name: field.default for field in fields(Provider)}
    sound |= {"settings": "", "summary": "", "selects": {}, "fills": {}}
    return replace(descriptor, **{name: sound[name] for name in wrong}), [f"{name} is {said}" for name, said in wrong.items()]


def wrong_capability(capability: Capability) -> str | None:
    """What is wrong with the descriptor of a capability; None when nothing is."""
    name: object = capability.name
    if not isinstance(name, str) or not _CAPABILITY.fullmatch(name):
        return f"a Capability's name is {_shown(name)}, not a word such as 'clock'"
    wrong = _wrong_fields(capability, _DESCRIBED_CAPABILITY)
    return "; ".join(f"capability {name}: {field} is {said}" for field, said in wrong.items()) or None


def _wrong_fields(descriptor: object, checks: Mapping[str, Check]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, check in checks.items():
        value = getattr(descriptor, name)
        expected = check(value)
        if expected is not None:
            found[name] = f"{_shown(value)}, not {expected}"
    return found


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else "text"


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def _reference(value: object) -> str | None:
    return None if _is_reference(value) else '"module:attribute"'


def _optional_reference(value: object) -> str | None:
    return None if value is None else _reference(value)


def _optional_module(value: object) -> str | None:
    return None if value is None or (isinstance(value, str) and _MODULE.fullmatch(value)) else "the name of a module"


def _words(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: object) -> str | None:
        sequence = isinstance(value, tuple | list | set | frozenset)
        if sequence and all(isinstance(one, str) and pattern.fullmatch(one) for one in cast("Iterable[object]", value)):
            return None
        return f"a tuple of {what}"

    return check


def _variables(value: object) -> str | None:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        if all(isinstance(name, str) and _words(_NAME, "")(names) is None for name, names in pairs):
            return None
    return 'a mapping such as {"url": ("REDIS_URL",)}'


def _patterns(value: object) -> str | None:
    if isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(pattern, str) and "{NAME}" in pattern
        for name, pattern in cast("Mapping[object, object]", value).items()
    ):
        return None
    return 'a mapping such as {"url": "{NAME}_DB_URL"}'


def _number(value: object) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _wrong_check(hook: str, item: Any) -> str | None:
    if not isinstance(item.name, str) or not item.name:
        return f"{hook} returned a check whose name is {_shown(item.name)}"
    if not callable(item.check):
        return f"{hook}: the check {item.name} is {_shown(item.check)}, not a function"
    if not isinstance(item.timeout, int | float) or isinstance(item.timeout, bool) or not 0 < item.timeout < float("inf"):
        return f"{hook}: the timeout of {item.name} is {_shown(item.timeout)}, not a number of seconds"
    return None


_SCHEMES: Final = _words(_SCHEME, 'schemes in lower case, such as ("redis",)')
_MODULES: Final = _words(_MODULE, 'names of modules, such as ("redis",)')
_PROVIDER: Final[Mapping[str, Check]] = {
    "summary": _text,
    "settings": _reference,
    "open": _optional_reference,
    "open_async": _optional_reference,
    "schemes": _SCHEMES,
    "modules": _MODULES,
    "selects": _variables,
    "fills": _variables,
    "embedded": _flag,
    "driver_api": _number,
    "status": _text,
    "telemetry_system": _optional_text,
    "docs": _optional_text,
}
_DESCRIBED_CAPABILITY: Final[Mapping[str, Check]] = {
    "portable": _reference,
    "portable_async": _reference,
    "settings": _reference,
    "threaded": _optional_reference,
    "hookspecs": _optional_module,
    "selects": _variables,
    "selects_named": _patterns,
    "fills": _variables,
    "modules": _MODULES,
    "extra": _optional_text,
}


def _article(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _shown(value: object) -> str:
    if value is None or isinstance(value, str | int | float):
        return f"{value!r:.60}"
    return _article(value)
