"""The errors of storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.errors import ErrorCode, ServiceError


class StorageError(ServiceError):
    """A storage operation failed."""


class ObjectNotFoundError(StorageError):
    """The key has no object."""

    default_code = ErrorCode.NOT_FOUND


class ObjectExistsError(StorageError):
    """The key has an object already, and ``mode="create"`` was asked for."""

    default_code = ErrorCode.ALREADY_EXISTS


class PreconditionFailedError(StorageError):
    """The object does not have the ETag that the caller named, or there is none."""

    default_code = ErrorCode.PRECONDITION_FAILED


class InvalidKeyError(StorageError):
    """The key breaks the key rules, or the provider cannot store it."""

    default_code = ErrorCode.INVALID_ARGUMENT


class KeyConflictError(StorageError):
    """The provider cannot hold both ``a`` and ``a/b``, and the other one exists."""

    default_code = ErrorCode.CONFLICT

    def __init__(self, message: str, **fields: Any) -> None:
        fields.setdefault("retryable", False)
        super().__init__(message, **fields)


class IntegrityError(StorageError):
    """Stored bytes differ from the digest or length that was recorded with them."""

    default_code = ErrorCode.DATA_LOSS


class DigestMismatchError(StorageError):
    """The bytes to be stored differ from the digest that the caller gave; nothing was stored."""

    default_code = ErrorCode.INVALID_ARGUMENT


class InvalidSignatureError(StorageError):
    """A signed URL is forged, expired, or used for what it does not allow."""

    default_code = ErrorCode.PERMISSION_DENIED


class DeleteError(StorageError):
    """Some objects of `delete_many` remain; all others are deleted.

    Attributes:
        failed: The error of each remaining key.
    """

    def __init__(self, message: str, *, failed: Mapping[str, StorageError], **fields: Any) -> None:
        super().__init__(message, **fields)
        self.failed = dict(failed)
