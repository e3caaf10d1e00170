"""The SDK's clients: how they are made, and with which credentials."""

from __future__ import annotations

import threading
from typing import Any, Final, cast

import boto3.session
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials

from infra.plugin import OpenContext, Secret
from infra_sqs.settings import SQSQueueSettings

_PING_TIMEOUT: Final = 5.0
_RECEIVE_TIMEOUT: Final = 30.0  # above the longest poll of 20 seconds
MOST_POLLS: Final = 32


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
    """The clients of one driver, each made by whoever needs it first: that takes time, and is not thread-safe in the SDK.

    Args:
        settings: The validated settings.
        context: Where the resource is opened.
        given: A client of the host's own, to use instead of all of these. It is not closed.
    """

    def __init__(self, settings: SQSQueueSettings, context: OpenContext, given: Any = None) -> None:
        self._settings = settings
        self._context = context
        self._given = given
        self._lock = threading.Lock()
        self._session: Any = None
        self._main: Any = given
        self._receiving: Any = given
        self._probe: Any = given

    def main(self) -> Any:
        """The client of all requests but receiving."""
        if self._main is None:
            settings = self._settings
            connections = settings.threads + settings.parallel + 8
            with self._lock:
                self._main = self._main or self._make(settings.connect_timeout, settings.read_timeout, settings.attempts, connections)
        return self._main

    def receiving(self) -> Any:
        """The client of long polls, which would keep other requests from the connections."""
        if self._receiving is None:
            settings = self._settings
            read_timeout = max(_RECEIVE_TIMEOUT, settings.read_timeout)
            with self._lock:
                self._receiving = self._receiving or self._make(settings.connect_timeout, read_timeout, settings.attempts, MOST_POLLS)
        return self._receiving

    def probe(self) -> Any:
        """A client that gives up soon, to ask whether the server lives."""
        if self._probe is None:
            with self._lock:
                self._probe = self._probe or self._make(min(_PING_TIMEOUT, self._settings.connect_timeout), _PING_TIMEOUT, 1, 2)
        return self._probe

    def close(self) -> None:
        """Close the connections of those that were made."""
        with self._lock:
            for client in (self._main, self._receiving, self._probe):
                if client is not None and client is not self._given:
                    client.close()

    def _make(self, connect_timeout: float, read_timeout: float, attempts: int, connections: int) -> Any:
        settings = self._settings
        if self._session is None:
            self._session = self._make_session()
        config = Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=connections,
            tcp_keepalive=True,
        )
        region = settings.region or self._session.region_name or ("us-east-1" if settings.endpoint else None)
        return self._session.client("sqs", region_name=region, endpoint_url=settings.endpoint, verify=settings.tls_ca, config=config)

    def _make_session(self) -> Any:
        settings = self._settings
        # One kernel reads the SDK's descriptions once. The loader is not locked, but only caches.
        loader = self._context.stores.get("infra_sqs.loader", botocore.loaders.Loader)
        session: Any = botocore.session.Session(profile=settings.profile)
        session.register_component("data_loader", loader)
        if settings.access_key_id is not None and settings.secret_access_key is not None:
            found = SettingsCredentials(settings.access_key_id, settings.secret_access_key, settings.session_token)
            session.register_component("credential_provider", CredentialResolver([_SettingsProvider(found)]))
        return boto3.session.Session(botocore_session=session)
