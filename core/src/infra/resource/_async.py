"""The base of every portable class."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, ClassVar, Generic, Self, TypeVar

from infra.driver import AsyncDriver, Cause, Explains
from infra.errors import ClosedError, ConfigurationError, ErrorCode, InfraError, ServiceError, UnsupportedError
from infra.kernel.settings import ProviderSettings
from infra.plugin import OpenContext
from infra.resource.causes import advice, plain_cause
from infra.resource.model import Health, Status
from infra.runtime import forks
from infra.runtime.aio import owner, within

T = TypeVar("T")
DriverT = TypeVar("DriverT", bound=AsyncDriver)
SettingsT = TypeVar("SettingsT", bound=ProviderSettings)


class AsyncResource(Generic[DriverT, SettingsT]):
    """A named, configured instance of a capability: policy above a driver.

    Args:
        driver: The provider's driver, open.
        settings: The validated settings of this resource.
        context: Where it is opened.
        owned: Whether `close` closes the driver; False when several resources share it.
    """

    #: What an exception that the driver classified becomes; a room narrows it by overriding `error`.
    error_type: ClassVar[type[InfraError]] = ServiceError

    def __init__(self, driver: DriverT, settings: SettingsT, context: OpenContext, *, owned: bool = True) -> None:
        self.driver = driver
        self.settings = settings
        self.context = context
        self.name = context.resource
        self.provider = context.provider
        self._owned = owned
        self._owner = owner()
        self._unusable: str | None = None
        forks.watch(self)

    @property
    def features(self) -> frozenset[str]:
        """The optional features that the provider has; some learn it from the server, when they are opened."""
        return self.driver.features

    async def start(self) -> None:
        """Check what the host requires of the provider. Rooms add their own set-up; the kernel calls it once, after open."""
        missing = sorted(set(self.settings.require) - self.features)
        if missing:
            enabling = self.settings.enabling
            remedy = "; ".join(enabling[feature] for feature in missing if feature in enabling) or "choose another provider"
            raise UnsupportedError(
                f"provider {self.provider} has no {', '.join(missing)}, which this resource requires",
                resource=self.name,
                provider=self.provider,
                remedy=f"{remedy}, or take it off `require` (it has: {', '.join(sorted(self.features)) or 'none'})",
            )

    async def close(self, timeout: float = 10.0) -> None:
        """Flush and release everything within `timeout` seconds. A second call does nothing; later use raises `ClosedError`."""
        if self._unusable is not None:
            return
        self._unusable = "it is closed"
        await self.release(timeout)
        if self._owned:
            await self.driver.close(timeout)

    async def release(self, timeout: float) -> None:
        """What a room has to end before its driver closes."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def ping(self, timeout: float = 5.0) -> float:
        """Ask the server for a sign of life; the seconds that it took.

        Raises:
            InfraError: It did not answer within `timeout` seconds.
        """
        self.check()
        started = time.perf_counter()
        try:
            await within(timeout, self.driver.ping, timeout)
        except Exception as error:
            raise self.error(error, "ping") from error
        return time.perf_counter() - started

    async def health(self, timeout: float = 5.0) -> Health:
        """Whether it serves now; never raises for a server that is down."""
        started = time.perf_counter()
        try:
            await self.ping(timeout)
        except InfraError as error:
            return Health(Status.DOWN, time.perf_counter() - started, str(error.code), error.message, remedy=error.remedy)
        return Health(Status.UP, time.perf_counter() - started)

    def unwrap(self, kind: type[T]) -> T:
        """The raw SDK object of type `kind`, for what the portable API does not cover.

        Raises:
            ConfigurationError: This provider has none of that type; the message names those on offer.
        """
        offers = self.driver.unwrap()
        for offer in offers:
            if isinstance(offer, kind):
                return offer
        names = ", ".join(f"{type(offer).__module__}.{type(offer).__qualname__}" for offer in offers)
        raise ConfigurationError(
            f"provider {self.provider} has no {kind.__module__}.{kind.__qualname__} to unwrap",
            resource=self.name,
            provider=self.provider,
            remedy=f"ask for one of: {names or 'none'}",
        )

    def supports(self, feature: str) -> bool:
        """Whether the provider has `feature`, natively."""
        return feature in self.features

    def need(self, feature: str, remedy: str) -> None:
        """Raise `UnsupportedError` when the provider lacks `feature`."""
        if feature not in self.features:
            raise UnsupportedError(
                f"provider {self.provider} has no {feature}",
                resource=self.name,
                provider=self.provider,
                operation=feature,
                remedy=self.settings.enabling.get(feature, remedy),
            )

    def check(self) -> None:
        """Raise `ClosedError` when this object must not be used here: closed, forked, or another event loop."""
        if self._unusable is not None:
            raise ClosedError(f"used although {self._unusable}", resource=self.name, provider=self.provider, remedy="open a new one")
        if owner() is not self._owner:
            raise ClosedError(
                "used from another event loop than the one that opened it",
                resource=self.name,
                provider=self.provider,
                remedy="open one Infra for each event loop",
            )

    def forked(self) -> None:
        """Called in a forked child: the connections are the parent's."""
        self._unusable = "it was opened in the parent process, before a fork"

    def error(self, cause: BaseException, operation: str, **details: Any) -> InfraError:
        """The error to raise for an exception of the driver; an error of the tree passes as it is."""
        if isinstance(cause, InfraError):
            return cause
        code = self._classified(cause)
        if code is None:
            code = ErrorCode.TIMEOUT if isinstance(cause, TimeoutError) else ErrorCode.INTERNAL
        return self.error_type(
            self.describe(cause, operation),
            code=code,
            resource=self.name,
            provider=self.provider,
            operation=operation,
            details=details,
            remedy=self.advise(cause, code),
        )

    def describe(self, cause: BaseException, operation: str) -> str:
        """One line that says what failed, where and why, without secrets."""
        explained = self._explained(cause)
        text = explained.text if explained is not None else str(cause)
        text = " ".join(self.context.redact(text).split())[:300].rstrip(".") or type(cause).__name__
        place = self.settings.place()
        where = f" at {place}" if place and place not in text else ""
        if operation == "ping" and self.settings.tls_expected() and self._classified(cause) is ErrorCode.TIMEOUT:
            text += " (is TLS spoken on that port?)"
        return f"{operation} failed on {self.provider}{where}: {text}"

    def advise(self, cause: BaseException, code: ErrorCode) -> str | None:
        """What to do about an exception of the driver: where the settings that it is about come from, or else `remedy`."""
        explained = self._explained(cause)
        if explained is not None and explained.remedy is not None:
            return explained.remedy
        about = explained.settings if explained is not None else ()
        look = self.context.origins(about or self.settings.suspects.get(code, ()))
        return advice(code, look, certain=bool(about)) or self.remedy(code)

    def remedy(self, code: ErrorCode) -> str | None:
        """What to do about an error of that code, where neither the driver nor the settings say more."""
        return {
            ErrorCode.UNAVAILABLE: "check that the server runs and that host and port are right",
            ErrorCode.TIMEOUT: "check the server's load and the network, or raise the timeout",
            ErrorCode.UNAUTHENTICATED: f"check the credentials of {self.name} (`infra explain {self.name}` says where they come from)",
            ErrorCode.PERMISSION_DENIED: f"grant the permission to the account that {self.name} uses",
            ErrorCode.CONFIGURATION: f"correct the settings of {self.name} (`infra explain {self.name}` says where they come from)",
        }.get(code)

    def _explained(self, cause: BaseException) -> Cause | None:
        """The cause in better words than the exception's own: the driver's, or those of the operating system below it."""
        found: object = None
        if isinstance(self.driver, Explains):
            with suppress(Exception):  # the failure itself is what has to be told
                found = self.driver.explain(cause)
        if not isinstance(found, Cause) and self._classified(cause) in (ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT, None):
            text = plain_cause(cause)
            return None if text is None else Cause(text)
        return found if isinstance(found, Cause) else None

    def _classified(self, cause: BaseException) -> ErrorCode | None:
        """The driver's code for an exception; None when it has none, or fails over it."""
        code: object = None
        with suppress(Exception):
            code = self.driver.classify(cause)
        return code if isinstance(code, ErrorCode) else None
