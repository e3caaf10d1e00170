"""Settings of every cache resource, whatever its provider."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from infra.kernel.settings import ProviderSettings, Seconds


class CacheSettings(ProviderSettings):
    """The portable side of a cache."""

    portable_fields: ClassVar[frozenset[str]] = ProviderSettings.portable_fields | {
        "prefix",
        "timeout",
        "batch",
        "jitter",
        "early",
        "lease",
        "lease_wait",
        "generation_trust",
        "tag_ttl",
        "probe_interval",
        "tombstones",
        "limiter_policy",
    }

    prefix: str | None = Field(None, max_length=40, pattern=r"^[A-Za-z0-9_.-]+$", description="Starts every stored key; else the name.")
    timeout: Seconds = Field(0.25, gt=0, description="Seconds that one call of the provider may take; it is never repeated.")
    batch: int = Field(100, ge=1, description="Most gets, or sets of threads, that travel as one; 1 sends each by itself.")
    jitter: float = Field(0.1, ge=0, le=0.5, description="Part by which `get_or_set` varies a TTL, so that entries do not expire together.")
    early: float = Field(1.0, ge=0, description="XFetch's beta: how eagerly `get_or_set` refreshes before expiry; 0 never.")
    lease: Seconds = Field(10.0, gt=0, description="Seconds after which the lease of a dead process's computation passes on.")
    lease_wait: Seconds = Field(60.0, description="Seconds to wait for another process's computation before computing without storing.")
    generation_trust: Seconds = Field(
        0.1, description="Seconds for which a `set` relies on a generation seen before; 0 reads it each time."
    )
    tag_ttl: Seconds = Field(30 * 86400.0, gt=0, description="Seconds after which a tag's version is forgotten, which invalidates it.")
    probe_interval: Seconds = Field(0.5, gt=0, description="Seconds between probes of a provider that is down.")
    tombstones: int = Field(10_000, ge=0, description="Most failed deletions to remember; beyond, whole namespaces are invalidated.")
    limiter_policy: Literal["allow", "deny", "raise"] = Field("allow", description="What a limiter answers while the cache is down.")
