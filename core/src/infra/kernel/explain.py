"""Why a resource is, or is not, active: every decision, and every value with its origin. Nothing here is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from infra.errors import ConfigurationError
from infra.kernel.core import Kernel
from infra.kernel.discovery import Outcome
from infra.kernel.layers import Value, nest
from infra.kernel.secrets import MASK

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A setting as it may be printed: a secret is masked, a reference is shown."""

    name: str
    value: str
    origin: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of one resource.

    Args:
        resource: The full name.
        state: The state of the resource.
        provider: The provider's name; None when none could be chosen.
        distribution: The distribution that brings it, with its version.
        outcomes: Every decision, in order.
        values: Every setting that is set.
        problems: What is wrong, a line each.
    """

    resource: str
    state: str
    provider: str | None
    distribution: str | None
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    values: list[ShownValue] = field(default_factory=list[ShownValue])
    problems: list[str] = field(default_factory=list[str])


def shown(kernel: Kernel, full_name: str, with_defaults: bool = False) -> list[ShownValue]:
    """The settings of a resource, masked.

    Args:
        kernel: The kernel.
        full_name: ``cache.main``.
        with_defaults: Also the settings that nothing sets.
    """
    from infra.kernel.opening import load, load_settings
    from infra.kernel.validation import mentions_secret

    config = kernel.resource(full_name)
    validated = kernel.validated(full_name)
    model: Any = None
    if config.provider is not None and config.provider.available:
        try:
            model = load_settings(config.provider)
        except ConfigurationError:
            model = None
    fields: dict[str, Any] = load(kernel.capability(config.capability).settings).model_fields if model is None else model.model_fields
    found: list[ShownValue] = []
    used = validated.values or {key: value for part in reversed(config.parts) for key, value in part.values.items()}
    names = dict.fromkeys(key[0] for key in used)
    for name in names:
        leaves = {key: value for key, value in used.items() if key[0] == name}
        origin = str(next(iter(leaves.values())).origin)
        secret = name not in fields or mentions_secret(fields[name].annotation)
        content = nest({key: value.content for key, value in leaves.items()})[name]
        found.append(ShownValue(name, _text(content, secret, next(iter(leaves.values()))), origin, secret))
    if with_defaults and validated.settings is not None:
        for name, info in fields.items():
            if name not in names:
                secret = mentions_secret(info.annotation)
                content = getattr(validated.settings, name)
                found.append(ShownValue(name, MASK if secret and content else str(content), "default", secret))
    return [ShownValue(value.name, kernel.redactor(value.value), value.origin, value.secret) for value in found]


def _text(content: object, secret: bool, value: Value) -> str:
    text = str(content)
    if secret:
        if value.file is not None:
            return f"file:{value.file}"
        return text if re.fullmatch(r"(env:\w+|file:[^\s:]+)", text) else MASK
    return _CREDENTIALS.sub(MASK, text)


def explain(kernel: Kernel, full_name: str) -> Explanation:
    """All decisions and values of one resource.

    Raises:
        ConfigurationError: The resource is not configured; the remedy says how to do so.
    """
    config = kernel.resource(full_name)
    validated = kernel.validated(full_name)
    found = config.provider
    outcomes = [*config.outcomes]
    if found is not None:
        outcomes += found.outcomes
        outcomes += [outcome for outcome in found.plugin.outcomes if not outcome.ok]
        if found.available:
            descriptor = found.descriptor
            doors = {(True, True): "blocking and asyncio", (True, False): "blocking; asyncio over a thread pool of the resource"}
            looped = found.capability in kernel.catalog.capabilities and kernel.catalog.capabilities[found.capability].looped
            served = doors.get(
                (descriptor.open is not None, descriptor.open_async is not None),
                "asyncio; blocking over an event loop in a thread of the resource"
                if looped
                else "asyncio only; the blocking door refuses it",
            )
            outcomes.append(Outcome("doors", True, "ok", f"drivers: {served}"))
    for key, value in validated.skipped.items():
        outcomes.append(Outcome("merge", True, "skipped", f"{key[0]} ({value.origin}) is no setting of this provider: skipped"))
    for problem in validated.problems:
        outcomes.append(Outcome("validate", False, "invalid", str(problem).removeprefix(f"{full_name}: ")))
    if not validated.problems:
        outcomes.append(Outcome("validate", True, "ok", "settings are valid"))
    return Explanation(
        full_name,
        str(kernel.states.get(full_name, "configured")),
        None if found is None else found.name,
        None if found is None else found.plugin.title,
        outcomes,
        shown(kernel, full_name),
        [str(problem) for problem in [*kernel.configuration.problems, *validated.problems]],
    )
