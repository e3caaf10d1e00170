"""Who we are to the server."""

from __future__ import annotations

from redis.credentials import CredentialProvider

from infra.plugin import Secret


class RevealedCredentials(CredentialProvider):
    """A user and a secret that is revealed for each new connection, so that a changed password needs no restart."""

    def __init__(self, username: str | None, password: Secret) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """What AUTH takes."""
        password = self._password.reveal()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same; revealing does not wait."""
        return self.get_credentials()
