"""The five capabilities of the kernel."""

from __future__ import annotations

from typing import Final

from infra.plugin import Capability

_LOOPED: Final = "infra.runtime.looped:LoopedDriver"


def _capability(name: str, portable: str, **fields: object) -> Capability:
    title = portable.removesuffix("Bucket") or "Storage"
    return Capability(
        name=name,
        portable=f"infra.{name}:{portable}",
        portable_async=f"infra.{name}:Async{portable}",
        settings=f"infra.{name}.settings:{title}Settings",
        **fields,  # type: ignore[arg-type]
    )


CAPABILITIES: Final[tuple[Capability, ...]] = (
    _capability(
        "database",
        "Database",
        selects={"url": ("DATABASE_URL",)},
        selects_named={"url": "{NAME}_DB_URL"},
        fills={"pool_size": ("DB_POOL_SIZE",), "max_overflow": ("DB_MAX_OVERFLOW",)},
        modules=("sqlalchemy", "alembic"),
        extra="database",
    ),
    _capability("llm", "LLM", threaded="infra.llm.threaded:ThreadedLLMDriver", selects={"provider": ("LLM_PROVIDER",)}),
    _capability("storage", "Bucket", threaded="infra.storage.threaded:ThreadedStorageDriver"),
    _capability("queue", "Queue", threaded="infra.queue.threaded:ThreadedQueueDriver", looped=_LOOPED),
    _capability("cache", "Cache", threaded="infra.cache.threaded:ThreadedCacheDriver", looped=_LOOPED),
)

#: Providers of this project's own plugins, for remedies: capability, provider, distribution, URL schemes.
KNOWN_PROVIDERS: Final[tuple[tuple[str, str, str, tuple[str, ...]], ...]] = (
    ("database", "sqlite", "infra-local", ("sqlite",)),
    ("database", "postgres", "infra-postgres", ("postgresql", "postgres")),
    ("database", "mysql", "infra-mysql", ("mysql", "mariadb")),
    ("storage", "local", "infra-local", ("file",)),
    ("storage", "memory", "infra-local", ("memory",)),
    ("storage", "s3", "infra-s3", ("s3",)),
    ("queue", "sqlite", "infra-local", ("sqlite",)),
    ("queue", "memory", "infra-local", ("memory",)),
    ("queue", "rabbitmq", "infra-rabbitmq", ("amqp", "amqps")),
    ("queue", "sqs", "infra-sqs", ("sqs",)),
    ("queue", "redis", "infra-redis", ("redis", "rediss")),
    ("cache", "memory", "infra-local", ("memory",)),
    ("cache", "sqlite", "infra-local", ("sqlite",)),
    ("cache", "redis", "infra-redis", ("redis", "rediss")),
    ("llm", "offline", "infra-local", ()),
    ("llm", "openai", "infra-openai", ()),
    ("llm", "azure", "infra-openai", ()),
    ("llm", "vllm", "infra-openai", ()),
    ("llm", "ollama", "infra-openai", ()),
    ("llm", "lmstudio", "infra-openai", ()),
)
