"""A plugin that brings a sixth capability, ``clock``, with providers of every kind."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plugin import Capability, Provider, hookimpl


@hookimpl
def infra_capabilities() -> Sequence[Capability]:
    return [
        Capability(
            name="clock",
            portable="sample_plugin.portable:Clock",
            portable_async="sample_plugin.portable:AsyncClock",
            settings="sample_plugin.settings:ClockSettings",
            hookspecs="sample_plugin.hookspecs",
            threaded="sample_plugin.portable:ThreadedClockDriver",
            selects={"url": ("CLOCK_URL",)},
            selects_named={"url": "{NAME}_CLOCK_URL"},
            fills={"precision": ("CLOCK_PRECISION",)},
        )
    ]


@hookimpl
def infra_clock() -> Sequence[Provider]:
    return [
        Provider(
            name="system",
            summary="this machine's clock",
            settings="sample_plugin.settings:ClockSettings",
            open="sample_plugin.driver:open_system",
            open_async="sample_plugin.driver:open_system_async",
            schemes=("system",),
            embedded=True,
        ),
        Provider(
            name="ntp",
            summary="a clock on a server",
            settings="sample_plugin.settings:NtpSettings",
            open="sample_plugin.driver:open_ntp",
            schemes=("ntp", "ntps"),
            selects={"host": ("NTP_HOST",)},
            fills={"password": ("NTP_PASSWORD",)},
        ),
        Provider(
            name="atomic",
            summary="needs a module that is not there",
            settings="sample_plugin.settings:NtpSettings",
            open="sample_plugin.driver:open_ntp",
            schemes=("atomic",),
            selects={"host": ("ATOMIC_HOST",)},
            modules=("no_such_module_anywhere",),
        ),
        Provider(
            name="future",
            summary="written for a newer kernel",
            settings="sample_plugin.settings:NtpSettings",
            open="sample_plugin.driver:open_ntp",
            driver_api=99,
        ),
        Provider(
            name="tasks_only",
            summary="asyncio only",
            settings="sample_plugin.settings:ClockSettings",
            open_async="sample_plugin.driver:open_system_async",
        ),
    ]
