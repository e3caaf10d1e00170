"""What the SDK's errors stand for.

Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html and the errors of each action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from botocore import exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from infra.driver import Cause
from infra.errors import ErrorCode
from infra.kernel.secrets import SecretUnavailableError


class Refusal(Exception):
    """The driver refuses.

    Args:
        code: What it stands for.
        reason: One line.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


#: Without the prefix ``AWS.SimpleQueueService.`` that some have.
_CODES: Final[Mapping[str, ErrorCode]] = {
    "NonExistentQueue": ErrorCode.NOT_FOUND,
    "QueueDoesNotExist": ErrorCode.NOT_FOUND,
    "QueueDeletedRecently": ErrorCode.UNAVAILABLE,  # a name is free again after a minute
    "QueueNameExists": ErrorCode.CONFIGURATION,
    "QueueAlreadyExists": ErrorCode.CONFIGURATION,
    "InvalidAddress": ErrorCode.CONFIGURATION,
    "InvalidAttributeName": ErrorCode.CONFIGURATION,
    "InvalidAttributeValue": ErrorCode.CONFIGURATION,
    "InvalidSecurity": ErrorCode.CONFIGURATION,
    "OptInRequired": ErrorCode.CONFIGURATION,
    "AccessDenied": ErrorCode.PERMISSION_DENIED,
    "AccessDeniedException": ErrorCode.PERMISSION_DENIED,
    "KmsAccessDenied": ErrorCode.PERMISSION_DENIED,
    "KmsDisabled": ErrorCode.CONFIGURATION,
    "KmsInvalidKeyUsage": ErrorCode.CONFIGURATION,
    "KmsInvalidState": ErrorCode.CONFIGURATION,
    "KmsNotFound": ErrorCode.CONFIGURATION,
    "KmsOptInRequired": ErrorCode.CONFIGURATION,
    "KmsThrottled": ErrorCode.RATE_LIMITED,
    "InvalidClientTokenId": ErrorCode.UNAUTHENTICATED,
    "UnrecognizedClientException": ErrorCode.UNAUTHENTICATED,
    "InvalidAccessKeyId": ErrorCode.UNAUTHENTICATED,
    "SignatureDoesNotMatch": ErrorCode.UNAUTHENTICATED,
    "InvalidSignatureException": ErrorCode.UNAUTHENTICATED,
    "IncompleteSignature": ErrorCode.UNAUTHENTICATED,
    "MissingAuthenticationToken": ErrorCode.UNAUTHENTICATED,
    "ExpiredToken": ErrorCode.UNAUTHENTICATED,
    "ExpiredTokenException": ErrorCode.UNAUTHENTICATED,
    "AuthFailure": ErrorCode.UNAUTHENTICATED,
    "RequestExpired": ErrorCode.UNAUTHENTICATED,
    "RequestThrottled": ErrorCode.RATE_LIMITED,
    "Throttling": ErrorCode.RATE_LIMITED,
    "ThrottlingException": ErrorCode.RATE_LIMITED,
    "ThrottledException": ErrorCode.RATE_LIMITED,
    "TooManyRequestsException": ErrorCode.RATE_LIMITED,
    "OverLimit": ErrorCode.RATE_LIMITED,
    "InternalError": ErrorCode.UNAVAILABLE,
    "InternalFailure": ErrorCode.UNAVAILABLE,
    "ServiceUnavailable": ErrorCode.UNAVAILABLE,
    "RequestTimeout": ErrorCode.TIMEOUT,
    "InvalidMessageContents": ErrorCode.INVALID_ARGUMENT,
    "InvalidParameterValue": ErrorCode.INVALID_ARGUMENT,
    "MissingParameter": ErrorCode.INVALID_ARGUMENT,
    "MessageTooLong": ErrorCode.INVALID_ARGUMENT,
    "BatchRequestTooLong": ErrorCode.INVALID_ARGUMENT,
    "InvalidBatchEntryId": ErrorCode.INVALID_ARGUMENT,
    "UnsupportedOperation": ErrorCode.UNSUPPORTED,
    "PurgeQueueInProgress": ErrorCode.UNAVAILABLE,
}
_STATUSES: Final[Mapping[int, ErrorCode]] = {
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.PERMISSION_DENIED,
    408: ErrorCode.TIMEOUT,
    429: ErrorCode.RATE_LIMITED,
}
#: The first that fits: subclasses stand before what they derive from.
_EXCEPTIONS: Final[tuple[tuple[type[BaseException], ErrorCode], ...]] = (
    (sdk.ConnectTimeoutError, ErrorCode.TIMEOUT),
    (sdk.ReadTimeoutError, ErrorCode.TIMEOUT),
    (sdk.ConnectionError, ErrorCode.UNAVAILABLE),  # refused, or no such host
    (sdk.HTTPClientError, ErrorCode.UNAVAILABLE),  # lost on the way
    (ResponseParserError, ErrorCode.UNAVAILABLE),  # cut off, or not the server's
    (sdk.NoCredentialsError, ErrorCode.UNAUTHENTICATED),
    (sdk.PartialCredentialsError, ErrorCode.UNAUTHENTICATED),
    (sdk.CredentialRetrievalError, ErrorCode.UNAUTHENTICATED),
    (sdk.MetadataRetrievalError, ErrorCode.UNAUTHENTICATED),
    (sdk.SSOError, ErrorCode.UNAUTHENTICATED),
    (sdk.ParamValidationError, ErrorCode.INVALID_ARGUMENT),
    (sdk.NoRegionError, ErrorCode.CONFIGURATION),
    (sdk.InvalidRegionError, ErrorCode.CONFIGURATION),
    (sdk.ProfileNotFound, ErrorCode.CONFIGURATION),
    (sdk.ConfigNotFound, ErrorCode.CONFIGURATION),
    (sdk.ConfigParseError, ErrorCode.CONFIGURATION),
    (BotoCoreError, ErrorCode.INTERNAL),
    (SecretUnavailableError, ErrorCode.UNAUTHENTICATED),
)
#: A receipt handle that no longer holds the message, in the words of SQS; the last stand in the message of an InvalidParameterValue.
_LOST: Final = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight"})
_LOST_WORDS: Final = ("receipt handle has expired", "not available for visibility timeout change")


def error_code(error: ClientError) -> str:
    """The server's own code of an error, without its prefix."""
    return str(_part(error, "Error").get("Code", "")).rpartition(".")[2]


def resent(error: ClientError) -> bool:
    """Whether the SDK had sent the request before, and got no answer or one that allows another attempt."""
    return bool(_part(error, "ResponseMetadata").get("RetryAttempts", 0))


def is_lost(error: ClientError) -> bool:
    """Whether the lease that a receipt handle stood for is over."""
    code, text = error_code(error), str(_part(error, "Error").get("Message", "")).lower()
    return code in _LOST or (code == "InvalidParameterValue" and any(words in text for words in _LOST_WORDS))


def of_entry(failed: Mapping[str, Any], answer: Mapping[str, Any], operation: str) -> ClientError:
    """The exception for one entry of a batch that failed."""
    error = {"Code": failed.get("Code", ""), "Message": failed.get("Message", "")}
    status = 400 if failed.get("SenderFault") else 500  # that of the whole answer is 200
    return ClientError({"Error": error, "ResponseMetadata": {**answer.get("ResponseMetadata", {}), "HTTPStatusCode": status}}, operation)


def _part(error: ClientError, name: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", error.response).get(name) or {}


def classify(error: BaseException) -> ErrorCode | None:
    """The code of an exception of the SDK or of this driver."""
    if isinstance(error, Refusal):
        return error.code
    if isinstance(error, ClientError):
        status = int(_part(error, "ResponseMetadata").get("HTTPStatusCode", 0))
        known = _CODES.get(error_code(error)) or _STATUSES.get(status)
        return known or (ErrorCode.UNAVAILABLE if status >= 500 or not status else ErrorCode.INTERNAL)
    return next((code for kind, code in _EXCEPTIONS if isinstance(error, kind)), None)


def explain(error: BaseException) -> Cause | None:
    """Better words for an exception than its own."""
    if isinstance(error, sdk.NoCredentialsError):
        return Cause("no credentials were found", ("access_key_id", "profile"))
    if isinstance(error, sdk.ProfileNotFound):
        return Cause(str(error), ("profile",))
    if isinstance(error, sdk.NoRegionError):
        return Cause("no region is set", ("region",))
    if not isinstance(error, ClientError):
        return None
    code, operation = classify(error), str(cast(Any, error).operation_name)
    if code is ErrorCode.UNAUTHENTICATED:
        return Cause(f"the server refused the credentials ({error_code(error)})", ("access_key_id", "secret_access_key", "profile"))
    if code is ErrorCode.PERMISSION_DENIED:
        return Cause(f"the account may not call {operation} here")
    if code is ErrorCode.RATE_LIMITED:
        return Cause(f"the server throttles {operation} ({error_code(error)})", remedy="publish in batches, or raise the account's quota")
    if code is ErrorCode.UNAVAILABLE:
        return Cause(f"{operation} failed on the server ({error_code(error)})", remedy="try again; the server's own health says more")
    return None
