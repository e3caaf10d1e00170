from __future__ import annotations

import time

from infra.errors import ErrorCode


class ClockDriver:
    def __init__(self, settings, context):
        self.settings, self.context = settings, context
        self.features = frozenset({"now"})
        self.events = context.stores.get("events", list)
        self.closed = False

    def now(self, timeout):
        return time.time()

    def ping(self, timeout):
        if getattr(self.settings, "fail", None) == "ping":
            raise ConnectionRefusedError(f"refused, password was {self.settings.password.reveal()}")

    def classify(self, error):
        return ErrorCode.UNAVAILABLE if isinstance(error, OSError) else None

    def unwrap(self):
        return (self,)

    def close(self, timeout):
        if not self.closed:
            self.closed = True
            self.events.append(f"driver of {self.context.resource} closed")
            if getattr(self.settings, "fail", None) == "close":
                raise RuntimeError("close went wrong")


class AsyncClockDriver(ClockDriver):
    async def now(self, timeout):
        return super().now(timeout)

    async def ping(self, timeout):
        super().ping(timeout)

    async def close(self, timeout):
        super().close(timeout)


def open_system(settings, context):
    return ClockDriver(settings, context)


async def open_system_async(settings, context):
    return AsyncClockDriver(settings, context)


def open_ntp(settings, context):
    context.stores.get("opened", list).append(context.resource)
    if settings.fail == "open":
        raise ConnectionRefusedError(111, "connection refused")
    if settings.fail == "exit":
        raise SystemExit(3)
    time.sleep(settings.delay)
    return ClockDriver(settings, context)
