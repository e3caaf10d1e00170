"""The settings of the S3 provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from infra.kernel.settings import Seconds
from infra.plugin import Secret
from infra.storage.settings import StorageSettings

#: S3 refuses smaller parts, but for the last one.
_SMALLEST_PART = 5 << 20


class S3Settings(StorageSettings):
    """A bucket of S3, or of a server that speaks its protocol."""

    url_fields: ClassVar[Mapping[str, str]] = {
        "username": "access_key_id",
        "password": "secret_access_key",
        "host": "bucket",
        "path": "prefix",
    }

    bucket: str = Field(description="The bucket; it must exist.", min_length=3, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]+$")
    region: str | None = Field(None, description="The bucket's region, such as `eu-central-1`; else the SDK's own configuration decides.")
    endpoint: str | None = Field(None, description="The server, when it is not Amazon's: `https://minio.example.com:9000`.")
    access_key_id: Secret | None = Field(None, description="The access key; without one the SDK's own chain finds the credentials.")
    secret_access_key: Secret | None = Field(None, description="The secret of the access key.")
    session_token: Secret | None = Field(None, description="The token of temporary credentials.")
    profile: str | None = Field(None, description="A profile of the SDK's own configuration files.")
    addressing: Literal["path", "virtual", "auto"] | None = Field(
        None, description="Whether the bucket stands in the URL's path or in its host; `path` on an endpoint of one's own, else `auto`."
    )
    tls_ca: str | None = Field(None, description="A file of certificate authorities to trust instead of the usual ones.")
    connect_timeout: Seconds = Field(10.0, gt=0, description="Seconds that a connection may take.")
    attempts: int = Field(3, ge=1, le=10, description="How often a request is tried in all, in the SDK's standard mode.")
    part_size: int = Field(8 << 20, ge=_SMALLEST_PART, le=5 << 30, description="Bytes of one part; larger bodies travel in parts.")
    upload_concurrency: int = Field(4, ge=1, le=64, description="Parts of one upload under way at once; each takes `part_size` of memory.")
    conditional_writes: bool | None = Field(
        None, description="Whether the server checks If-Match and If-None-Match; asked at open on an endpoint of one's own when not given."
    )
    signed_urls: bool = Field(True, description="Whether the server checks signed URLs; `false` for emulators that let anything pass.")
    write_arguments: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Arguments of the SDK for every write, such as `ServerSideEncryption`, `SSEKMSKeyId`, `StorageClass` or `ACL`.",
    )

    @classmethod
    def expand_url(cls, url: str) -> dict[str, object]:
        """The fields that a URL stands for; a bucket keeps its case, which a host does not."""
        fields = super().expand_url(url)
        bucket = unquote(urlsplit(url).netloc.rpartition("@")[2])
        return fields | {"bucket": bucket} if str(fields.get("bucket", "")) == bucket.lower() else fields

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("should be a URL such as https://minio.example.com:9000")
        return value.rstrip("/") if value else None

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: set both or neither")
        return self
