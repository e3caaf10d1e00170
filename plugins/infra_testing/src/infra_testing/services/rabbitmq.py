"""A private RabbitMQ with an epmd of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra_testing.services.programs import find_program
from infra_testing.services.server import MissingServiceError, Server, clean_environment
from infra_testing.services.wire import exchange

#: What a broker without plugins needs; a folder of these alone starts faster than the package's.
OPTIONAL = (
    "rabbitmq_",
    "amqp10_",
    "cowboy",
    "cowlib",
    "gun",
    "eetcd",
    "jose",
    "jsx",
    "prometheus",
    "quantile_estimator",
    "accept",
    "base64url",
)

#: Definitions are in Mnesia, whose log is written with a delay; which log a quorum queue has stands in a table of Ra's, written when idle.
SYNC = """
    ok = mnesia:sync_log(),
    #{names := #{directory_rev := Names}} = ra_system:fetch(quorum_queues),
    ok = dets:sync(Names).
"""


def home() -> Path:
    """The package's folder, which holds sbin and plugins.

    Raises:
        MissingServiceError: It is not installed.
    """
    for pattern in ("/usr/lib/rabbitmq/lib/rabbitmq_server-*", "/usr/local/opt/rabbitmq", "/opt/homebrew/opt/rabbitmq"):
        for folder in sorted(Path("/").glob(pattern[1:]), reverse=True):
            if (folder / "sbin" / "rabbitmq-server").exists():
                return folder
    raise MissingServiceError("no rabbitmq-server found")


class RabbitMQServer(Server):
    """RabbitMQ on a free port; guest/guest.

    Args:
        options: Further settings by their names in rabbitmq.conf, such as ``{"heartbeat": "5"}``.
    """

    name = "rabbitmq"
    remedy = "rabbitmq-server"
    packaged = True
    port_count = 3  # clients, distribution, epmd
    start_timeout = 120.0

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.options = dict(options or {})
        self._epmd: subprocess.Popen[bytes] | None = None

    @classmethod
    def find_version(cls) -> str:
        """The version of the installed server."""
        find_program("erl")
        find_program("epmd")
        versions = sorted((home() / "plugins").glob("rabbit-[0-9]*"))
        if not versions:
            raise MissingServiceError(f"{home()} holds no broker")
        return versions[-1].name.removeprefix("rabbit-").removesuffix(".ez")

    def prepare(self) -> None:
        """Write the configuration, and link the applications that a bare broker consists of."""
        options = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "log.console": "true",
            "log.file": "false",
            "disk_free_limit.absolute": "50MB",
            "vm_memory_high_watermark.absolute": "512MB",
            **self.options,
        }
        (self.root / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in options.items()))
        (self.root / "enabled_plugins").write_text("[].\n")
        plugins = self.root / "plugins"
        plugins.mkdir()
        for application in (home() / "plugins").iterdir():
            if application.name.startswith("rabbitmq_prelaunch") or not application.name.startswith(OPTIONAL):
                (plugins / application.name).symlink_to(application)

    def environment(self) -> Mapping[str, str]:
        """All places of the broker within its folder."""
        root, distribution, epmd = self.root, self.ports[1], self.ports[2]
        return {
            "HOME": str(root),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": f"{root}/none",
            "RABBITMQ_CONFIG_FILE": f"{root}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{root}/none.config",
            "RABBITMQ_MNESIA_BASE": f"{root}/mnesia",
            "RABBITMQ_LOG_BASE": f"{root}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": f"{root}/pid",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{root}/gen",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{root}/enabled_plugins",
            "RABBITMQ_PLUGINS_DIR": f"{root}/plugins",
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
        }

    def command(self) -> list[str]:
        """The package's own script, which becomes the server; the wrapper on the PATH would change the user."""
        return [str(home() / "sbin" / "rabbitmq-server")]

    def ping(self) -> bool:
        """Opens a connection of AMQP 0-9-1; the listener appears when the boot is done."""
        return exchange(self.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01\x00\x00")

    @property
    def url(self) -> str:
        """The virtual host /, which other tests of the run use as well when the server is shared: use queue names of your own."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl, such as ``ctl("set_vm_memory_high_watermark", "absolute", "1MB")`` for a memory alarm.

        Raises:
            ServiceError: It failed.
        """
        return self.execute([home() / "sbin" / "rabbitmqctl", "-q", *arguments])

    def sync_declarations(self) -> None:
        """Wait until declared queues and exchanges are on disk.

        RabbitMQ confirms a declaration before that. Killed within the moment between, it forgets a durable queue with all its messages;
        or it remembers a quorum queue, but not the log that held its messages, and gives it a new one, which never elects a leader.
        """
        self.ctl("eval", SYNC)

    def kill(self) -> None:
        """Kill the broker, and the port mapper that would remember it."""
        super().kill()
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            self.run.unregister(epmd.pid)
            epmd.kill()
            epmd.wait()

    def hand_over(self) -> None:
        """Leave the broker and its port mapper to the run."""
        super().hand_over()
        if self._epmd is not None:
            self._epmd.returncode = 0  # no longer ours to wait for

    def _launch(self) -> None:
        # Erlang starts a port mapper that outlives it; one of ours is there first and ends with us.
        epmd = [str(find_program("epmd")), "-port", str(self.ports[2]), "-address", "127.0.0.1"]
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                epmd,
                env=clean_environment({}),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self.run.register(self._epmd.pid, self.root)
        super()._launch()
