"""Which settings an operator has to look at, each with where its value comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from infra.kernel.configuration import ResourceConfig
    from infra.kernel.core import Kernel

#: Secrets without which there is no account: where none is set, that is worth a word.
_KEYS: Final = ("password", "api_key", "access_key_id")


def name_origins(kernel: Kernel, config: ResourceConfig, names: Sequence[str]) -> str | None:
    """Settings of a resource with their origins: ```host` and `port` (REDIS_URL)``; None when it has none of them.

    Args:
        kernel: The kernel.
        config: The resource, as the kernel has it.
        names: The settings in question. Those that nothing sets are told only where no other one is set, or when they are a key.
    """
    validated = kernel.validated(config.full_name)
    if validated.settings is None:
        return None
    fields = type(validated.settings).model_fields
    known = [name for name in names if name in fields]
    origins: dict[str, str] = {}
    for key, value in validated.values.items():
        origins.setdefault(key[0], str(value.origin))
    groups: dict[str, list[str]] = {}
    for name in known:
        if name in origins:
            groups.setdefault(origins[name], []).append(name)
    parts = [f"{_listed(group)} ({origin})" for origin, group in groups.items()]
    keys = [name for name in known if name in _KEYS]
    if keys and not any(name in origins for name in known if name != "username"):
        parts.append(f"`{keys[0]}` (not set: {_variable(config, keys[0])} sets it)")
    elif known and not groups:
        value = getattr(validated.settings, known[0])
        default = "not set" if value is None else f"default {value}"
        parts.append(f"`{known[0]}` ({default}: {_variable(config, known[0])} sets it)")
    return ", ".join(parts) or None


def _listed(names: Iterable[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def _variable(config: ResourceConfig, name: str) -> str:
    """The variable that would set it: a well-known one, or the resource's own."""
    if config.name == "main" and config.provider is not None:
        descriptor = config.provider.descriptor
        for names in (descriptor.fills.get(name), descriptor.selects.get(name)):
            if names:
                return names[0]
    return f"INFRA_{config.capability}__{config.name}__{name}".upper()
