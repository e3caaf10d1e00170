"""Which keys a bucket has, what it refuses, and what its errors are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from infra.errors import ErrorCode, InfraError, UnsupportedError
from infra.plugin import OpenContext
from infra.resource import AsyncResource
from infra.runtime.bridge import ThreadBridge
from infra.storage.driver import AsyncStorageDriver
from infra.storage.errors import (
    IntegrityError,
    InvalidKeyError,
    KeyConflictError,
    ObjectExistsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StorageError,
)
from infra.storage.model import ObjectInfo, StorageFeature
from infra.storage.rules import digest_problem, key_problem, metadata_problem, prefix_problem
from infra.storage.settings import StorageSettings

_ERRORS: Final[Mapping[ErrorCode, type[StorageError]]] = {
    ErrorCode.NOT_FOUND: ObjectNotFoundError,
    ErrorCode.ALREADY_EXISTS: ObjectExistsError,
    ErrorCode.PRECONDITION_FAILED: PreconditionFailedError,
    ErrorCode.INVALID_ARGUMENT: InvalidKeyError,
    ErrorCode.CONFLICT: KeyConflictError,
    ErrorCode.DATA_LOSS: IntegrityError,
}
_REMEDIES: Final[Mapping[ErrorCode, str]] = {
    ErrorCode.NOT_FOUND: "check the key, or store the object first",
    ErrorCode.ALREADY_EXISTS: 'choose another key, or store with mode="overwrite"',
    ErrorCode.PRECONDITION_FAILED: "read the object again and repeat the change on what it is now",
    ErrorCode.CONFLICT: "a key cannot also be a folder of other keys here: choose another key",
    ErrorCode.INVALID_ARGUMENT: "choose another key",
    ErrorCode.DATA_LOSS: "read it again; if that fails too, restore it from a backup",
}


class AsyncScope(AsyncResource[AsyncStorageDriver, StorageSettings]):
    """The keys below a prefix of a provider's key space: what reading, writing and listing have in common."""

    error_type: ClassVar[type[InfraError]] = StorageError

    def __init__(self, driver: AsyncStorageDriver, settings: StorageSettings, context: OpenContext, *, owned: bool = True) -> None:
        super().__init__(driver, settings, context, owned=owned)
        self._prefix = settings.prefix and settings.prefix.strip("/") + "/"
        self._parent: AsyncScope | None = None
        # async-only: begin
        self.bridge: ThreadBridge | None = ThreadBridge(f"{context.resource}-files", settings.threads)
        # async-only: end
        # sync-only: self.bridge: ThreadBridge | None = None

    async def start(self) -> None:
        """Check what the host requires of the provider, and the prefix."""
        await super().start()
        if self._prefix:
            self._checked(self._prefix[:-1], "open")

    async def release(self, timeout: float) -> None:  # noqa: ARG002
        """See `AsyncResource.release`."""
        if self.bridge is not None and self._parent is None:
            self.bridge.close()

    def check(self) -> None:
        """See `AsyncResource.check`; a sub-bucket ends with its parent."""
        super().check()
        if self._parent is not None:
            self._parent.check()

    def full_key(self, key: object, operation: str) -> str:
        """The provider's key for `key`; `InvalidKeyError` when it breaks the key rules."""
        return self._checked(self._prefix + key, operation, key) if self._prefix and isinstance(key, str) else self._checked(key, operation)

    def full_prefix(self, prefix: str) -> str:
        """The provider's prefix for `prefix`."""
        problem = prefix_problem(prefix)
        if problem:
            raise self._bad_key(prefix, f"prefix {prefix!r} {problem}", "list")
        return self._prefix + prefix

    def own_key(self, key: str) -> str:
        """This bucket's key for the provider's."""
        return key[len(self._prefix) :]

    def own(self, info: ObjectInfo) -> ObjectInfo:
        """The information with this bucket's key."""
        return replace(info, key=info.key[len(self._prefix) :]) if self._prefix else info

    def check_put(self, key: str, mode: str, metadata: Mapping[str, str] | None, digest: str | None) -> str:
        """Everything that can be refused before the first byte; the provider's key."""
        self.check()
        full = self.full_key(key, "put")
        if mode == "create":
            self.need(StorageFeature.CONDITIONAL_CREATE, "choose a provider that can, or a key that nobody else uses")
        elif mode != "overwrite":
            self.check_etag(mode)
            self.need(StorageFeature.CONDITIONAL_UPDATE, "choose a provider that can, or keep versions in a database")
        if metadata and (problem := metadata_problem(metadata)):
            raise self.refused("put", problem, "use short ASCII names and plain text")
        if digest is not None and (problem := digest_problem(digest)):
            raise self.refused("put", problem, "give the SHA-256 as 64 hexadecimal digits")
        return full

    def check_etag(self, etag: object) -> None:
        """Refuse what cannot be an ETag: an empty one would mean no condition at all."""
        if etag is not None and not (isinstance(etag, str) and etag.strip()):
            raise self.refused("put", "the ETag is empty, or no text", "give the ETag of an ObjectInfo")

    def error(self, cause: BaseException, operation: str, **details: Any) -> InfraError:
        """The room's leaf for the code of the driver's exception."""
        if isinstance(cause, InfraError):
            return cause
        code = self.driver.classify(cause)
        leaf = None if code is None else _ERRORS.get(code)
        if code is ErrorCode.UNSUPPORTED and operation == "put":
            return UnsupportedError(
                self.describe(cause, operation), resource=self.name, provider=self.provider, operation=operation, details=details
            )
        if leaf is None:
            return super().error(cause, operation, **details)
        subject = f" of {details['key']!r}" if "key" in details else ""
        return leaf(
            self.describe(cause, operation + subject),
            resource=self.name,
            provider=self.provider,
            operation=operation,
            details=details,
            remedy=_REMEDIES.get(leaf.default_code),
        )

    def _checked(self, full: object, operation: str, shown: str | None = None) -> str:
        problem = key_problem(full)
        if problem or not isinstance(full, str):
            key = full if shown is None else shown
            raise self._bad_key(key, f"key {key!r} {problem}", operation)
        return full

    def _bad_key(self, key: object, message: str, operation: str) -> InvalidKeyError:
        return InvalidKeyError(
            message.encode(errors="backslashreplace").decode(),
            resource=self.name,
            provider=self.provider,
            operation=operation,
            details={"key": key},
            remedy="use UTF-8 text of at most 1,024 bytes, in segments parted by single slashes",
        )

    def refused(self, operation: str, message: str, remedy: str) -> StorageError:
        """An error for arguments that make no sense."""
        return StorageError(
            message, code=ErrorCode.INVALID_ARGUMENT, resource=self.name, provider=self.provider, operation=operation, remedy=remedy
        )
