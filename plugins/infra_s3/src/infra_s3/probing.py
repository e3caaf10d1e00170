"""What a server of the protocol really does with conditions, asked where each is made: some check one request and ignore another."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.errors import ErrorCode
from infra_s3.failures import classify

_REFUSED: Final = (ErrorCode.PRECONDITION_FAILED, ErrorCode.ALREADY_EXISTS, ErrorCode.NOT_FOUND)
_NO_ETAG: Final = {"IfMatch": f'"{"0" * 32}"'}
_NEW: Final = {"IfNoneMatch": "*"}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Which conditions are checked.

    Args:
        create: If-None-Match of one request.
        update: If-Match of one request.
        create_parts: If-None-Match at the completion of parts.
        update_parts: If-Match at the completion of parts.
    """

    create: bool
    update: bool
    create_parts: bool
    update_parts: bool


NO_CONDITIONS: Final = Conditions(False, False, False, False)
ALL_CONDITIONS: Final = Conditions(True, True, True, True)


def probe(client: Any, bucket: str, prefix: str) -> Conditions:
    """Try each condition where it does not hold, on an object of its own, which is deleted. Nothing is left where the first is refused."""
    at = {"Bucket": bucket, "Key": f"{prefix}.infra-probe-{secrets.token_hex(8)}"}
    left = False
    try:
        if not _refuses(lambda: client.put_object(**at, Body=b"", **_NO_ETAG)):
            left = True
            return NO_CONDITIONS
        update_parts = _completion_refuses(client, at, _NO_ETAG)
        client.put_object(**at, Body=b"")
        left = True
        create = _refuses(lambda: client.put_object(**at, Body=b"", **_NEW))
        return Conditions(create, True, create and _completion_refuses(client, at, _NEW), update_parts)
    except ClientError:
        return NO_CONDITIONS  # it does not let us find out
    finally:
        if left:
            try:
                client.delete_object(**at)
            except ClientError:
                pass


def _completion_refuses(client: Any, at: Mapping[str, str], condition: Mapping[str, str]) -> bool:
    try:
        upload = {**at, "UploadId": client.create_multipart_upload(**at)["UploadId"]}
    except (ClientError, KeyError):
        return False
    try:
        etag = client.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        refused = _refuses(lambda: client.complete_multipart_upload(**upload, MultipartUpload=parts, **condition))
    except (ClientError, KeyError):
        refused = False
    try:
        if refused:
            client.abort_multipart_upload(**upload)
        else:
            client.delete_object(**at)
    except ClientError:
        pass
    return refused


def _refuses(write: Callable[[], object]) -> bool:
    try:
        write()
    except ClientError as error:
        return classify(error) in _REFUSED
    return False
