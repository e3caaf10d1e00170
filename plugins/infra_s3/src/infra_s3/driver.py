"""The S3 driver."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from infra.driver import Cause
from infra.errors import ErrorCode
from infra.plugin import OpenContext
from infra.storage.driver import Body
from infra.storage.model import ObjectInfo, Page, PutOptions, SignedURL, StorageFeature, StorageLimits
from infra_s3.attributes import WRITE, answered_at, from_headers, quoted, to_headers, unquoted
from infra_s3.client import Clients
from infra_s3.failures import Refusal, classify, error_code, explain, is_missing, resent, status_of
from infra_s3.probing import ALL_CONDITIONS, NO_CONDITIONS, Conditions, probe
from infra_s3.reading import S3Reader, byte_range, to_skip, whole_size
from infra_s3.settings import S3Settings
from infra_s3.uploads import MAX_PARTS, Part, Uploads, part_size_for, parts_of, ranges_of

#: The largest object of one CopyObject, and the parts of larger ones.
_LARGEST_COPY: Final = 5 << 30
_COPY_PART: Final = 512 << 20
#: The longest life of a signature.
_LONGEST_SIGNED: Final = 7 * 86400
_OPERATIONS: Final = {"GET": "get_object", "HEAD": "head_object", "PUT": "put_object", "DELETE": "delete_object"}
#: What a copy in parts has to carry over itself.
_CARRIED: Final = ("ContentType", "Metadata", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage")
_FEATURES: Final = frozenset(
    {StorageFeature.OVERLAPPING_KEYS, StorageFeature.SHARED, StorageFeature.DURABLE},
)
_CONDITIONAL: Final[tuple[tuple[StorageFeature, Callable[[Conditions], bool]], ...]] = (
    (StorageFeature.CONDITIONAL_CREATE, lambda checked: checked.create),
    (StorageFeature.CONDITIONAL_UPDATE, lambda checked: checked.update),
    (StorageFeature.CONDITIONAL_COPY, lambda checked: checked.create_parts),
)
#: What the answer to DeleteObjects may say where there is no such request; one by one they can still be deleted.
_HOPELESS: Final = frozenset(
    {ErrorCode.UNAUTHENTICATED, ErrorCode.PERMISSION_DENIED, ErrorCode.CONFIGURATION, ErrorCode.RATE_LIMITED, ErrorCode.TIMEOUT}
)


class S3StorageDriver:
    """One bucket.

    Args:
        settings: The validated settings.
        context: Where it is opened.
        client: A client of the host's own, to use instead of one made from the settings. It is not closed.
    """

    def __init__(self, settings: S3Settings, context: OpenContext, client: Any = None) -> None:
        self.limits = StorageLimits(
            part_size=settings.part_size, max_parts=MAX_PARTS, max_size=5 << 40, max_metadata=1900, delete_batch=1000, page_size=1000
        )
        self._settings = settings
        self._context = context
        self._bucket = settings.bucket
        self._given = client
        self._lock = threading.Lock()
        self._clients: Clients | None = None
        self._client: Any = client
        self._probe: Any = client
        self._uploads = Uploads(self._get_client, settings.upload_concurrency)
        self._bucket_exists = False
        self._deletes_many = True

    # -- the client

    def _get_client(self) -> Any:
        """The client, made by whoever comes first: making one takes a tenth of a second, and is not thread-safe in the SDK."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._get_clients().make()
        return self._client

    def _get_probe(self) -> Any:
        with self._lock:
            if self._probe is None:
                self._probe = self._get_clients().make_probe()
            return self._probe

    def _get_clients(self) -> Clients:
        if self._clients is None:
            self._clients = Clients(self._settings, self._context)
        return self._clients

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": key}

    # -- what every driver has

    @cached_property
    def features(self) -> frozenset[str]:
        """See `StorageDriver`. On an endpoint of one's own the server is asked once, by `ping`, unless the settings say it."""
        checked, found = self._conditions, set(_FEATURES)
        found |= {feature for feature, holds in _CONDITIONAL if holds(checked)}
        if self._settings.signed_urls:
            found.add(StorageFeature.SIGNED_URLS)
        return frozenset(map(str, found))

    def classify(self, error: BaseException) -> ErrorCode | None:
        """See `StorageDriver`."""
        return classify(error)

    def explain(self, error: BaseException) -> Cause | None:
        """See `Explains`."""
        return explain(error, self._bucket)

    def unwrap(self) -> Sequence[object]:
        """The SDK's client."""
        return (self._get_client(),)

    def ping(self, timeout: float) -> None:  # noqa: ARG002 (the probe has a short timeout of its own)
        """See `StorageDriver`. Asks for the bucket; HEAD does not say why it fails, a listing does."""
        probe = self._get_probe()
        try:
            probe.head_bucket(Bucket=self._bucket)
        except ClientError:
            probe.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
        self._bucket_exists = True
        _ = self.features  # found out here, where what fails is a failure to reach the server

    def close(self, timeout: float) -> None:  # noqa: ARG002 (nothing here waits)
        """See `StorageDriver`."""
        self._uploads.close()
        with self._lock:
            for client in {id(client): client for client in (self._client, self._probe)}.values():
                if client is not None and client is not self._given:
                    client.close()

    def public_url(self, key: str) -> str | None:
        """The address on the endpoint, or on Amazon's."""
        settings, path = self._settings, quote(key, safe="/~")
        if settings.endpoint is not None:
            return f"{settings.endpoint}/{self._bucket}/{path}"
        region = f".{settings.region}" if settings.region else ""
        host = f"s3{region}.amazonaws.com{'.cn' if region.startswith('.cn-') else ''}"
        # A wildcard certificate does not cover a bucket with dots.
        return f"https://{host}/{self._bucket}/{path}" if "." in self._bucket else f"https://{self._bucket}.{host}/{path}"

    # -- reading

    def head(self, key: str, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        return self._info(key, self._head(key))

    def open(self, key: str, offset: int, length: int | None, if_match: str | None, timeout: float) -> S3Reader:  # noqa: ARG002
        """See `StorageDriver`."""
        condition = {} if if_match is None else {"IfMatch": quoted(if_match)}
        if length == 0:
            return S3Reader(self._info(key, self._head(key, **condition)))
        wanted = byte_range(offset, length)
        try:
            answer = self._get_client().get_object(**self._at(key), **condition, **({"Range": wanted} if wanted else {}))
        except ClientError as error:
            if error_code(error) not in ("InvalidRange", "416"):
                raise
            return S3Reader(self._info(key, self._head(key, **condition)))
        held = answer["ContentLength"]
        try:
            size = whole_size(answer)
            skipped = 0 if wanted is None else to_skip(answer, offset, size)
        except BaseException:
            answer["Body"].close()
            raise
        left = held - skipped
        return S3Reader(from_headers(key, size, answer), answer["Body"], held, left if length is None else min(length, left), skipped)

    def list_page(self, prefix: str, delimiter: str | None, token: str | None, limit: int, timeout: float) -> Page:  # noqa: ARG002
        """See `StorageDriver`."""
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix, "MaxKeys": limit}
        if delimiter is not None:
            arguments["Delimiter"] = delimiter
        if token is not None:
            arguments["ContinuationToken"] = token
        answer = self._get_client().list_objects_v2(**arguments)
        objects = tuple(
            ObjectInfo(entry["Key"], entry["Size"], unquoted(entry["ETag"]), entry["LastModified"]) for entry in answer.get("Contents", ())
        )
        prefixes = tuple(entry["Prefix"] for entry in answer.get("CommonPrefixes", ()))
        return Page(objects, prefixes, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None)

    # -- writing

    def put(self, key: str, body: Body, options: PutOptions, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`. Up to ``part_size`` bytes in one request; more in parts, the condition checked at their completion."""
        size = len(body) if isinstance(body, bytes) else options.size
        if isinstance(body, bytes) and len(body) <= self._settings.part_size:
            return self._put_whole(key, body, options)
        parts = parts_of(body, part_size_for(size, self._settings.part_size))
        first = next(parts, b"")
        second = next(parts, None)
        if second is None:
            return self._put_whole(key, bytes(first), options)
        if not self._checked_in_parts(options):
            if isinstance(body, bytes) and len(body) <= _LARGEST_COPY:
                return self._put_whole(key, body, options)
            raise Refusal(
                ErrorCode.UNSUPPORTED,
                "the server does not check the condition at the completion of parts: give bytes, or no more than `part_size`",
            )
        total = 0

        def counted(part: Part) -> Part:
            nonlocal total
            total += len(part)
            return part

        digest, write = options.digest(), secrets.token_hex(8)
        attributes = to_headers(options, digest, write)
        all_parts = map(counted, chain((first, second), parts))
        del first, second
        try:
            answer = self._uploads.upload(
                self._at(key), all_parts, {**attributes, **self._settings.write_arguments}, _condition(options.create, options.if_match)
            )
        except ClientError as error:
            answer = self._settled(key, error, options, write)
        return self._written(key, total, digest, options, answer)

    def delete_many(self, keys: Sequence[str], timeout: float) -> Mapping[str, BaseException]:  # noqa: ARG002
        """See `StorageDriver`."""
        if len(keys) == 1:
            self._get_client().delete_object(**self._at(keys[0]))
            return {}
        if self._deletes_many:
            try:
                answer = self._get_client().delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
                return {
                    failed["Key"]: ClientError({"Error": failed, "ResponseMetadata": answer["ResponseMetadata"]}, "DeleteObjects")
                    for failed in answer.get("Errors", ())
                }
            except ClientError as error:
                status = status_of(error)
                if classify(error) in _HOPELESS or status == 503:
                    raise
                self._deletes_many = status in (500, 502, 504)
            except (ResponseParserError, KeyError):
                self._deletes_many = False  # it answered with something else
        return self._deleted_one_by_one(keys)

    def _deleted_one_by_one(self, keys: Sequence[str]) -> Mapping[str, BaseException]:
        failures: dict[str, BaseException] = {}
        for key in keys:
            try:
                self._get_client().delete_object(**self._at(key))
            except (ClientError, BotoCoreError) as error:
                failures[key] = error
        return failures

    def copy(self, source: str, target: str, create: bool, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`. Large objects are copied in parts, and so are those that must be new: every server that checks conditions
        at all checks them at the completion of parts.
        """
        found = self._head(source)
        info, size = self._info(target, found), found["ContentLength"]
        if source == target:
            if create:
                raise Refusal(ErrorCode.ALREADY_EXISTS, "the target is the source")
            return info
        origin = self._at(source)
        if size <= _LARGEST_COPY and not create:
            answer = self._get_client().copy_object(
                **self._at(target), CopySource=origin, CopySourceIfMatch=found["ETag"], **self._settings.write_arguments
            )
            return _copied(info, answer["CopyObjectResult"])
        attributes = {name: found[name] for name in _CARRIED if name in found}
        write = secrets.token_hex(8)
        attributes["Metadata"] = {**attributes.get("Metadata", {}), WRITE: write}
        attributes |= self._settings.write_arguments
        condition = _condition(create, None)
        try:
            if size:
                ranges = ranges_of(size, part_size_for(size, _COPY_PART))
                answer = self._uploads.copy(origin, found["ETag"], self._at(target), ranges, attributes, condition)
            else:
                answer = self._get_client().put_object(**self._at(target), Body=b"", **attributes, **condition)
        except ClientError as error:
            answer = self._settled(target, error, PutOptions(create=create), write)
        return _copied(info, answer)

    def _put_whole(self, key: str, body: bytes, options: PutOptions) -> ObjectInfo:
        digest, condition = options.digest(), _condition(options.create, options.if_match)
        write = secrets.token_hex(8) if condition else None
        attributes = {**to_headers(options, digest, write), **self._settings.write_arguments}
        try:
            answer = self._get_client().put_object(**self._at(key), Body=body, **attributes, **condition)
        except ClientError as error:
            answer = self._settled(key, error, options, write)
        return self._written(key, len(body), digest, options, answer)

    def _settled(self, key: str, error: ClientError, options: PutOptions, write: str | None) -> Mapping[str, Any]:
        """What became of a write that failed, as the answer to it; raises what it means.

        The SDK sends a request again when its answer was lost; the second one may fail because the first was done.
        """
        code = classify(error)
        if resent(error) and write is not None and (code in _REFUSED or error_code(error) == "NoSuchUpload"):
            try:
                found = self._head(key)
            except (ClientError, BotoCoreError):
                raise error from None
            if write in found["Metadata"].values():
                return found
        if code == ErrorCode.PRECONDITION_FAILED and options.create:
            raise Refusal(ErrorCode.ALREADY_EXISTS, "there is an object already") from error
        if code == ErrorCode.NOT_FOUND and options.if_match is not None:
            raise Refusal(ErrorCode.PRECONDITION_FAILED, "there is no object") from error
        raise error

    @staticmethod
    def _written(key: str, size: int, digest: str | None, options: PutOptions, answer: Mapping[str, Any]) -> ObjectInfo:
        metadata = MappingProxyType(dict(options.metadata))
        modified = answer.get("LastModified") or answered_at(answer)
        return ObjectInfo(key, size, unquoted(answer["ETag"]), modified, options.content_type, metadata, digest)

    # -- addresses

    def sign(self, method: str, key: str, expires: float, headers: Mapping[str, str]) -> SignedURL:
        """See `StorageDriver`."""
        if expires > _LONGEST_SIGNED:
            raise Refusal(ErrorCode.UNSUPPORTED, "S3 signs for seven days at most")
        client, operation = self._get_client(), _OPERATIONS[method]
        now = datetime.now(UTC)
        ends = self._get_clients().expiry() if self._given is None else None
        left = expires if ends is None else min(expires, (ends - now).total_seconds())
        if left <= 0:
            raise Refusal(ErrorCode.UNAUTHENTICATED, "the credentials have expired")
        seconds = max(1, int(left))
        bound = {name.lower(): value for name, value in headers.items()}
        url = client.generate_presigned_url(operation, {**self._at(key), **_bound(client, operation, bound)}, seconds)
        return SignedURL(url, method, now + timedelta(seconds=seconds), MappingProxyType(bound))

    # -- inside

    def _head(self, key: str, **condition: str) -> Mapping[str, Any]:
        try:
            return self._get_client().head_object(**self._at(key), **condition)
        except ClientError as error:
            # Its answer has no body: a missing bucket looks like a missing object.
            if is_missing(error) and not self._bucket_exists:
                self.ping(0)
            raise

    @staticmethod
    def _info(key: str, answer: Mapping[str, Any]) -> ObjectInfo:
        return from_headers(key, answer["ContentLength"], answer)

    @cached_property
    def _conditions(self) -> Conditions:
        """Which conditions the server checks: what the settings say, or what it does."""
        said = self._settings.conditional_writes
        if said is not None:
            return ALL_CONDITIONS if said else NO_CONDITIONS
        if self._settings.endpoint is None:
            return ALL_CONDITIONS
        return probe(self._get_probe(), self._bucket, self._settings.prefix)

    def _checked_in_parts(self, options: PutOptions) -> bool:
        checked = self._conditions if options.create or options.if_match is not None else ALL_CONDITIONS
        return checked.create_parts if options.create else options.if_match is None or checked.update_parts


_REFUSED: Final = (ErrorCode.PRECONDITION_FAILED, ErrorCode.ALREADY_EXISTS)


def _condition(create: bool, if_match: str | None) -> dict[str, str]:
    if create:
        return {"IfNoneMatch": "*"}
    return {} if if_match is None else {"IfMatch": quoted(if_match)}


def _copied(info: ObjectInfo, answer: Mapping[str, Any]) -> ObjectInfo:
    return replace(info, etag=unquoted(answer["ETag"]), modified=answer.get("LastModified") or answered_at(answer))


def _bound(client: Any, operation: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Headers as arguments of the operation, which then signs them."""
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    names = {
        shape.serialization["name"].lower(): member
        for member, shape in model.input_shape.members.items()
        if shape.serialization.get("location") == "header"
    }
    arguments: dict[str, Any] = {}
    for name, value in headers.items():
        if name.startswith("x-amz-meta-"):
            arguments.setdefault("Metadata", {})[name.removeprefix("x-amz-meta-")] = value
        elif name in names:
            arguments[names[name]] = value
        else:
            raise Refusal(ErrorCode.UNSUPPORTED, f"a signed URL of this method cannot be bound to the header {name!r}")
    return arguments


def open_driver(settings: S3Settings, context: OpenContext) -> S3StorageDriver:
    """The driver; its client is made on first use. On an endpoint of one's own, `ping` asks the server what it can do."""
    return S3StorageDriver(settings, context)
