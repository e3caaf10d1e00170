from __future__ import annotations

from infra.resource import AsyncResource, Resource


class Clock(Resource):
    def now(self):
        self.check()
        return self.driver.now(1.0)

    def release(self, timeout):
        self.context.stores.get("events", list).append(f"{self.name} released")


class AsyncClock(AsyncResource):
    async def now(self):
        self.check()
        return await self.driver.now(1.0)

    async def release(self, timeout):
        self.context.stores.get("events", list).append(f"{self.name} released")


class ThreadedClockDriver:
    def __init__(self, driver, bridge):
        self._driver, self._bridge = driver, bridge
        self.features = driver.features

    async def now(self, timeout):
        return await self._bridge.call(self._driver.now, timeout)

    async def ping(self, timeout):
        await self._bridge.call(self._driver.ping, timeout)

    def classify(self, error):
        return self._driver.classify(error)

    def unwrap(self):
        return self._driver.unwrap()

    async def close(self, timeout):
        await self._bridge.call(self._driver.close, timeout)
        self._bridge.close()
