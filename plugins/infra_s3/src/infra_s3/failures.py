"""What the SDK's errors stand for. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from botocore import exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError

from infra.driver import Cause
from infra.errors import ErrorCode
from infra.kernel.secrets import SecretUnavailableError


class Refusal(Exception):
    """The driver refuses, or a condition does not hold."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


#: HEAD has no body: its "code" is the status.
_CODES: Final[Mapping[str, ErrorCode]] = {
    "NoSuchKey": ErrorCode.NOT_FOUND,
    "404": ErrorCode.NOT_FOUND,
    "NoSuchBucket": ErrorCode.CONFIGURATION,
    "InvalidBucketName": ErrorCode.CONFIGURATION,
    "PermanentRedirect": ErrorCode.CONFIGURATION,
    "301": ErrorCode.CONFIGURATION,
    "AuthorizationHeaderMalformed": ErrorCode.CONFIGURATION,
    "IllegalLocationConstraintException": ErrorCode.CONFIGURATION,
    "PreconditionFailed": ErrorCode.PRECONDITION_FAILED,
    "412": ErrorCode.PRECONDITION_FAILED,
    # Another write of the key was under way: the outcome is open, not a clash of a key with a folder.
    "ConditionalRequestConflict": ErrorCode.UNAVAILABLE,
    "OperationAborted": ErrorCode.UNAVAILABLE,
    "AccessDenied": ErrorCode.PERMISSION_DENIED,
    "AllAccessDisabled": ErrorCode.PERMISSION_DENIED,
    "AccountProblem": ErrorCode.PERMISSION_DENIED,
    "403": ErrorCode.PERMISSION_DENIED,
    "InvalidAccessKeyId": ErrorCode.UNAUTHENTICATED,
    "SignatureDoesNotMatch": ErrorCode.UNAUTHENTICATED,
    "ExpiredToken": ErrorCode.UNAUTHENTICATED,
    "InvalidToken": ErrorCode.UNAUTHENTICATED,
    "TokenRefreshRequired": ErrorCode.UNAUTHENTICATED,
    "RequestTimeTooSkewed": ErrorCode.UNAUTHENTICATED,
    "401": ErrorCode.UNAUTHENTICATED,
    "SlowDown": ErrorCode.RATE_LIMITED,
    "Throttling": ErrorCode.RATE_LIMITED,
    "ThrottlingException": ErrorCode.RATE_LIMITED,
    "RequestLimitExceeded": ErrorCode.RATE_LIMITED,
    "TooManyRequests": ErrorCode.RATE_LIMITED,
    "RequestTimeout": ErrorCode.TIMEOUT,
    "InternalError": ErrorCode.UNAVAILABLE,  # also within an answer of status 200
    "ServiceUnavailable": ErrorCode.UNAVAILABLE,
    "KeyTooLongError": ErrorCode.INVALID_ARGUMENT,
    "InvalidURI": ErrorCode.INVALID_ARGUMENT,
    "MetadataTooLarge": ErrorCode.INVALID_ARGUMENT,
    "EntityTooLarge": ErrorCode.INVALID_ARGUMENT,
    "BadDigest": ErrorCode.DATA_LOSS,
    "InvalidDigest": ErrorCode.DATA_LOSS,
    "IncompleteBody": ErrorCode.DATA_LOSS,
    "XAmzContentSHA256Mismatch": ErrorCode.DATA_LOSS,
    "XAmzContentChecksumMismatch": ErrorCode.DATA_LOSS,
    "NoSuchUpload": ErrorCode.UNAVAILABLE,
    "NotImplemented": ErrorCode.UNSUPPORTED,
    "InvalidObjectState": ErrorCode.UNSUPPORTED,
}
_STATUSES: Final[Mapping[int, ErrorCode]] = {
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.PERMISSION_DENIED,
    404: ErrorCode.NOT_FOUND,
    408: ErrorCode.TIMEOUT,
    409: ErrorCode.UNAVAILABLE,
    412: ErrorCode.PRECONDITION_FAILED,
    429: ErrorCode.RATE_LIMITED,
    501: ErrorCode.UNSUPPORTED,
}
#: The first that fits: subclasses stand before what they derive from.
_EXCEPTIONS: Final[tuple[tuple[type[BaseException], ErrorCode], ...]] = (
    (sdk.ConnectTimeoutError, ErrorCode.TIMEOUT),
    (sdk.ReadTimeoutError, ErrorCode.TIMEOUT),
    (sdk.IncompleteReadError, ErrorCode.DATA_LOSS),
    (sdk.FlexibleChecksumError, ErrorCode.DATA_LOSS),
    (sdk.ConnectionError, ErrorCode.UNAVAILABLE),  # refused, or no such host
    (sdk.HTTPClientError, ErrorCode.UNAVAILABLE),  # lost on the way
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


def error_code(error: ClientError) -> str:
    """The server's own code of an error; the status where it said none."""
    return str(_part(error, "Error").get("Code", ""))


def resent(error: ClientError) -> bool:
    """Whether the SDK had sent the request before, and got no answer or one that allows another attempt."""
    return bool(_part(error, "ResponseMetadata").get("RetryAttempts", 0))


def _part(error: ClientError, name: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", error.response).get(name) or {}


def classify(error: BaseException) -> ErrorCode | None:
    """The code of an exception of the SDK or of this driver."""
    if isinstance(error, Refusal):
        return error.code
    if isinstance(error, ClientError):
        if cast(Any, error).operation_name == "HeadBucket" and error_code(error) == "404":
            return ErrorCode.CONFIGURATION
        status = int(_part(error, "ResponseMetadata").get("HTTPStatusCode", 0))
        known = _CODES.get(error_code(error)) or _STATUSES.get(status)
        return known or (ErrorCode.UNAVAILABLE if status >= 500 else ErrorCode.INTERNAL)
    if isinstance(error, sdk.ResponseStreamingError) and "IncompleteRead" in str(error):
        return ErrorCode.DATA_LOSS
    return next((code for kind, code in _EXCEPTIONS if isinstance(error, kind)), None)


#: Words, and the settings that it is about, for codes whose own message says how it was found out, not what is wrong.
_CAUSES: Final[Mapping[str, Cause]] = {
    "InvalidAccessKeyId": Cause("the server does not know the access key", ("access_key_id",)),
    "SignatureDoesNotMatch": Cause(
        "the signature does not fit: the secret of the access key is wrong", ("secret_access_key", "access_key_id")
    ),
    "ExpiredToken": Cause("the temporary credentials have expired", ("session_token", "access_key_id")),
    "RequestTimeTooSkewed": Cause("this machine's clock and the server's differ too much", (), "set the clock of this machine"),
    "AuthorizationHeaderMalformed": Cause("the server expects another region", ("region",)),
    "PermanentRedirect": Cause("the bucket is in another region, or at another endpoint", ("region", "endpoint")),
    "301": Cause("the bucket is in another region, or at another endpoint", ("region", "endpoint")),
}


def explain(error: BaseException, bucket: str) -> Cause | None:
    """Better words for an exception than its own."""
    if isinstance(error, sdk.NoCredentialsError):
        return Cause("no credentials were found", ("access_key_id", "profile"))
    if isinstance(error, sdk.ProfileNotFound):
        return Cause(str(error), ("profile",))
    if isinstance(error, sdk.NoRegionError):
        return Cause("no region is set", ("region",))
    if not isinstance(error, ClientError):
        return None
    code = error_code(error)
    if code == "NoSuchBucket":
        return Cause(f"there is no bucket {bucket!r}", ("bucket",))
    if code in ("AccessDenied", "AllAccessDisabled"):
        return Cause(f"the account may not do that in bucket {bucket!r}")
    known = _CAUSES.get(code)
    if known is not None:
        return known
    said = str(_part(error, "Error").get("Message") or "")
    text = f"{said.rstrip('.')} ({code})" if said and said != code else f"the server answered {code}"
    return Cause(text, remedy="try again; the server answers, but has a problem" if classify(error) is ErrorCode.UNAVAILABLE else None)


def status_of(error: ClientError) -> int:
    """The HTTP status of the answer; 0 when there was none."""
    return int(_part(error, "ResponseMetadata").get("HTTPStatusCode", 0))


def is_missing(error: ClientError) -> bool:
    """Whether there is no such object, as far as the answer says."""
    return classify(error) == ErrorCode.NOT_FOUND
