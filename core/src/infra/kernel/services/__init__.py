"""The two doors to one kernel: `_async` holds AsyncInfra, `_sync` Infra. A host imports them from `infra`."""
