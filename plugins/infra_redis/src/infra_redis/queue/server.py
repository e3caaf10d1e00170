"""What a server says about how it keeps what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from infra.queue.model import Durability

#: What is asked for with CONFIG GET.
ASKED: Final = ("maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite")


def settings_of(replies: Sequence[Sequence[bytes]]) -> dict[str, str]:
    """The settings in replies to CONFIG GET."""
    return {reply[0].decode(): reply[1].decode() for reply in replies if len(reply) >= 2}


def settings_of_info(replies: Sequence[bytes]) -> dict[str, str]:
    """What INFO tells of the same settings; not when the log is written to the disk."""
    lines = b"\r\n".join(replies).decode(errors="replace").splitlines()
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    found: dict[str, str] = {}
    if "maxmemory_policy" in info:
        found["maxmemory-policy"] = info["maxmemory_policy"]
    if "aof_enabled" in info:
        found["appendonly"] = "yes" if info["aof_enabled"] == "1" else "no"
    return found


def durability_of(settings: Mapping[str, str]) -> Durability:
    """What a message survives when the server has answered; the least that fits where something is not known."""
    if settings.get("appendonly") != "yes":
        return Durability.NONE
    always = settings.get("appendfsync") == "always" and settings.get("no-appendfsync-on-rewrite") == "no"
    return Durability.DISK if always else Durability.PROCESS


def evicting(settings: Mapping[str, str]) -> str | None:
    """The policy by which the server deletes what it is asked to keep; None when it does not."""
    policy = settings.get("maxmemory-policy", "noeviction")
    return None if policy == "noeviction" else policy
