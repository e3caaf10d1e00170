"""What a server says about how it keeps what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from infra.queue.model import Durability

#: What is asked for with CONFIG GET.
ASKED: Final = ("maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite")


#: What is asked for with INFO, to know what kind of server it is.
SECTIONS: Final = ("server", "replication", "cluster")


_ALL_SLOTS: Final = "16384"


def info_of(replies: Sequence[bytes]) -> dict[str, str]:
    """What INFO tells."""
    lines = b"\r\n".join(replies).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def unfit(info: Mapping[str, str]) -> tuple[str, str] | None:
    """Why a server cannot keep a queue, and what to do about it; None when it can."""
    if info.get("redis_mode") == "sentinel":
        return "is a Sentinel, which keeps no data", "give host and port of the primary that it watches"
    if info.get("cluster_enabled") == "1" and (info.get("cluster_size"), info.get("cluster_slots_assigned")) != ("1", _ALL_SLOTS):
        why = "is a node of a cluster, of which each queue is on one node that may change"
        return why, "give the queue a server that is no cluster's, or a cluster of one node"
    if info.get("role") == "slave" and info.get("slave_read_only") != "0":
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        return f"is a replica of {primary}, and takes no writes", "give host and port of the primary"
    return None


def settings_of(replies: Sequence[Sequence[bytes]]) -> dict[str, str]:
    """The settings in replies to CONFIG GET."""
    return {reply[0].decode(): reply[1].decode() for reply in replies if len(reply) >= 2}


def settings_of_info(replies: Sequence[bytes]) -> dict[str, str]:
    """What INFO tells of the same settings; not when the log is written to the disk."""
    info = info_of(replies)
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
