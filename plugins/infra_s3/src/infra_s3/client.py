"""The SDK's client: how it is made, and with which credentials."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any, Final, cast

import boto3
import boto3.session
import botocore
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials

from infra.plugin import OpenContext, Secret
from infra_s3.settings import S3Settings

_PING_TIMEOUT: Final = 5.0


class SettingsCredentials(Credentials):
    """The credentials of the settings, as they are now: a rotated key signs the next request."""

    def __init__(self, access_key_id: Secret, secret_access_key: Secret, session_token: Secret | None) -> None:
        self._secrets = (access_key_id, secret_access_key, session_token)
        cast(Any, super()).__init__("", "", None, "infra-settings")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """What one request is signed with."""
        key, secret, token = self._secrets
        return ReadOnlyCredentials(key.reveal(), secret.reveal(), token.reveal() if token else None, None)


class _SettingsProvider(CredentialProvider):
    METHOD = CANONICAL_NAME = "infra-settings"

    def __init__(self, credentials: SettingsCredentials) -> None:
        self._credentials = credentials

    def load(self) -> Any:
        return self._credentials


class Clients:
    """A session of one's own, and its clients.

    Args:
        settings: The validated settings.
        context: Where the resource is opened.
    """

    def __init__(self, settings: S3Settings, context: OpenContext) -> None:
        self._settings = settings
        # The SDK's description of S3 is a megabyte of JSON: one kernel reads it once. The loader is not locked, but only caches.
        loader = context.stores.get("infra_s3.loader", botocore.loaders.Loader)
        session: Any = botocore.session.Session(profile=settings.profile)
        session.register_component("data_loader", loader)
        if settings.access_key_id is not None and settings.secret_access_key is not None:
            found = SettingsCredentials(settings.access_key_id, settings.secret_access_key, settings.session_token)
            session.register_component("credential_provider", CredentialResolver([_SettingsProvider(found)]))
        self._session: Any = boto3.session.Session(botocore_session=session)
        self._botocore = session

    def make(self) -> Any:
        """The client of all requests."""
        settings = self._settings
        connections = 2 * settings.threads + settings.concurrency + settings.upload_concurrency
        return self._make(settings.connect_timeout, settings.timeout, settings.attempts, connections)

    def make_probe(self) -> Any:
        """A client that gives up soon, to ask whether the server lives."""
        timeout = min(_PING_TIMEOUT, self._settings.timeout)
        return self._make(min(timeout, self._settings.connect_timeout), timeout, 1, 2)

    def expiry(self) -> datetime | None:
        """When the credentials end, after a refresh if one is due; None when they do not, or when nobody knows."""
        credentials: Any = self._botocore.get_credentials()
        if credentials is None:
            return None
        credentials.get_frozen_credentials()
        expires: datetime | None = getattr(credentials, "_expiry_time", None)
        return None if expires is None else expires.astimezone(UTC)

    def _make(self, connect_timeout: float, read_timeout: float, attempts: int, connections: int) -> Any:
        settings, custom = self._settings, self._settings.endpoint is not None
        config = Config(
            # The SDK composes its own for each request anew: an eighth of what a small one costs.
            user_agent=f"Boto3/{boto3.__version__} Botocore/{botocore.__version__} infra-s3",
            signature_version="s3v4",
            connect_timeout=connect_timeout,
            read_timeout=read_timeout or None,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=connections,
            tcp_keepalive=True,
            s3={"addressing_style": settings.addressing or ("path" if custom else "auto")},
            # Many servers of the protocol refuse the checksums that newer SDKs add by themselves.
            request_checksum_calculation="when_required" if custom else None,
            response_checksum_validation="when_required" if custom else None,
        )
        region = settings.region or self._session.region_name or ("us-east-1" if custom else None)
        client = self._session.client("s3", region_name=region, endpoint_url=settings.endpoint, verify=settings.tls_ca, config=config)
        if custom:
            client.meta.events.register("before-call.s3.DeleteObjects", _add_digest)
        return client


def _add_digest(params: dict[str, Any], **_: object) -> None:
    """The digest that the protocol once asked for: older servers still do, instead of the checksum that the SDK sends now."""
    body = params.get("body")
    if isinstance(body, bytes | bytearray):
        params["headers"]["Content-MD5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
