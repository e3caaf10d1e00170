"""The launchers, each with its real client: start, ping, kill -9, pause, restart, and the data still there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import openai
import pika
import psycopg
import pymysql
import pytest
import redis
from botocore.config import Config

from infra_testing.run import VARIABLE, current_run
from infra_testing.services import (
    AimockServer,
    MariaDBServer,
    MotoServer,
    PostgresServer,
    RabbitMQServer,
    RcloneServer,
    RedisServer,
    Server,
    ServiceError,
)
from infra_testing.services.ports import is_free, lease_port
from infra_testing.services.processes import is_running


def wait_for(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def write_redis(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")


def read_redis(server: RedisServer) -> str:
    with redis.Redis.from_url(server.url) as client:
        return client.get("kept").decode()  # type: ignore[union-attr]


def write_postgres(server: PostgresServer) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'yes' AS value")


def read_postgres(server: PostgresServer) -> str:
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT value FROM kept").fetchall()[0][0]


def mysql(server: MariaDBServer, *statements: str) -> Any:
    connection = pymysql.connect(host="127.0.0.1", port=server.port, user="root", database="mysql", autocommit=True)
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall()


def write_mariadb(server: MariaDBServer) -> None:
    mysql(server, "CREATE TABLE kept (value VARCHAR(9)) ENGINE=InnoDB", "INSERT INTO kept VALUES ('yes')")


def read_mariadb(server: MariaDBServer) -> str:
    return mysql(server, "SELECT value FROM kept")[0][0]


def write_rabbitmq(server: RabbitMQServer) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("kept", durable=True)
    channel.basic_publish("", "kept", b"yes", pika.BasicProperties(delivery_mode=2), mandatory=True)
    connection.close()


def read_rabbitmq(server: RabbitMQServer) -> str:
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    _, _, body = connection.channel().basic_get("kept")
    connection.close()
    return body.decode()


def s3(server: MotoServer | RcloneServer) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(s3={"addressing_style": "path"}),
    )


def write_s3(server: MotoServer | RcloneServer) -> None:
    client = s3(server)
    client.create_bucket(Bucket="kept")
    client.put_object(Bucket="kept", Key="kept", Body=b"yes")


def read_s3(server: MotoServer | RcloneServer) -> str:
    return s3(server).get_object(Bucket="kept", Key="kept")["Body"].read().decode()


CASES: list[Any] = [
    pytest.param(RedisServer, write_redis, read_redis, id="redis"),
    pytest.param(PostgresServer, write_postgres, read_postgres, id="postgres"),
    pytest.param(MariaDBServer, write_mariadb, read_mariadb, id="mariadb"),
    pytest.param(RabbitMQServer, write_rabbitmq, read_rabbitmq, id="rabbitmq"),
    pytest.param(RcloneServer, write_s3, read_s3, id="rclone"),
]


@pytest.mark.parametrize(("kind", "write", "read"), CASES)
def test_data_survives_kill_and_restart_on_the_same_port(kind: type[Server], write: Any, read: Any, start_server: Any) -> None:
    server = start_server(kind)
    port, root = server.port, server.root
    write(server)
    assert read(server) == "yes" or kind is RabbitMQServer
    if isinstance(server, RabbitMQServer):
        write(server)
        server.sync_declarations()
    pid = server.pid
    server.kill()
    assert not server.is_running
    assert not server.ping()
    assert not is_running(pid)
    server.start()
    assert (server.port, server.root) == (port, root)
    assert read(server) == "yes"


@pytest.mark.parametrize("kind", [RedisServer, PostgresServer, MariaDBServer])
def test_a_paused_server_does_not_answer_until_it_is_resumed(kind: type[Server], start_server: Any) -> None:
    server = start_server(kind)
    server.pause()
    assert not server.ping()
    server.resume()
    wait_for(server.ping)


def test_a_stopped_server_keeps_its_data_and_a_closed_one_leaves_nothing() -> None:
    server = RedisServer().start()
    write_redis(server)
    assert read_redis(server.restart()) == "yes"
    server.stop()
    assert not server.is_running
    root, port = server.root, server.port
    server.close()
    server.close()
    assert not root.exists()
    assert is_free(port)


def test_moto_serves_s3_and_sqs_and_forgets_on_reset(start_server: Any) -> None:
    server = start_server(MotoServer)
    write_s3(server)
    assert read_s3(server) == "yes"
    server.reset()
    assert s3(server).list_buckets()["Buckets"] == []
    assert server.restart().ping()


def test_aimock_answers_its_fixtures(start_server: Any) -> None:
    server = start_server(AimockServer, fixtures=[{"match": {"userMessage": "hi"}, "response": {"content": "hello"}}])
    with openai.OpenAI(base_url=server.url, api_key="any") as client:
        for question, answer in (("hi", "hello"), ("else", "Hello from the test server.")):
            message: Any = {"role": "user", "content": question}
            assert client.chat.completions.create(model="any", messages=[message]).choices[0].message.content == answer


def test_killing_postgres_ends_every_backend_at_once(start_server: Any) -> None:
    server = start_server(PostgresServer)
    with psycopg.connect(server.url) as connection:
        backend = connection.info.backend_pid
        server.kill()
        assert not is_running(backend)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    server.start()


def test_postgres_databases_and_a_standby_that_takes_over(start_server: Any) -> None:
    server = start_server(PostgresServer, options={"max_connections": "30"})
    assert server.sql("SHOW max_connections") == "30"
    url = server.database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE copied AS SELECT 7 AS value")
    name = url.rpartition("/")[2]
    with server.standby() as standby:
        wait_for(lambda: standby.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'copied'", name) == "1")
        assert standby.sql("SELECT value FROM copied", name) == "7"
        assert standby.sql("SELECT pg_is_in_recovery()") == "t"
        server.kill()
        standby.promote().sql("INSERT INTO copied VALUES (8)", name)
    server.start().drop_database(url)
    assert server.sql(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == "0"
    with pytest.raises(ServiceError, match="syntax error"):
        server.sql("SELEC 1")


def test_mariadb_databases(mariadb_server: MariaDBServer) -> None:
    url = mariadb_server.database()
    name = url.rpartition("/")[2]
    mariadb_server.sql("CREATE TABLE t AS SELECT 7 AS value", name)
    assert mariadb_server.sql("SELECT value FROM t", name) == "7"
    mariadb_server.drop_database(url)
    assert name not in mariadb_server.sql("SHOW DATABASES")


def test_a_memory_alarm_of_rabbitmq(start_server: Any) -> None:
    server = start_server(RabbitMQServer)
    server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    wait_for(lambda: "memory" in server.ctl("eval", "rabbit_alarm:get_alarms()."))
    connection = pika.BlockingConnection(pika.ConnectionParameters(port=server.port, blocked_connection_timeout=1))
    channel = connection.channel()
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.ConnectionBlockedTimeout):
        channel.basic_publish("", "anywhere", b"blocked")


def test_shared_servers_are_one_for_the_run_and_cannot_be_stopped(redis_server: RedisServer) -> None:
    script = "from infra_testing.services import *; s = shared_server(RedisServer); print(s.url); s.close()"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == redis_server.url
    assert redis_server.ping()
    for operation in ("start", "stop", "kill", "pause", "resume"):
        with pytest.raises(ServiceError, match="shared"):
            getattr(redis_server, operation)()


def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra_testing.services.programs.FOLDERS", ())
    monkeypatch.setenv("PATH", "/nowhere")
    found = RedisServer.available()
    assert not found
    assert "redis-server" in found.reason
    assert found.remedy == "redis-server"
    assert all(word not in RedisServer.remedy for word in ("http", "/"))


def test_a_server_that_cannot_start_says_why_and_leaves_nothing() -> None:
    server = RedisServer({"nonsense-option": "1"})
    with pytest.raises(ServiceError, match="nonsense-option"):
        server.__enter__()
    with pytest.raises(ServiceError, match="never started"):
        _ = server.root
    assert any("nonsense-option" in log.read_text() for log in (current_run().folder / "logs").glob("redis-*.log"))


def test_two_leases_never_give_the_same_port() -> None:
    leases = [lease_port() for _ in range(20)]
    ports = {lease.port for lease in leases}
    assert len(ports) == 20
    assert all(20000 <= port <= 31999 for port in ports)
    for lease in leases:
        lease.release()
        lease.release()


ORPHAN = """
import json, os, signal
from infra_testing.run import current_run
from infra_testing.services import RedisServer
server = RedisServer().start()
print(json.dumps({"pid": server.pid, "folder": str(current_run().folder)}), flush=True)
os.kill(os.getpid(), signal.%s)
signal.pause()
"""


@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT"])
def test_servers_end_with_the_process_that_owns_the_run_however_it_ends(number: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run([sys.executable, "-c", ORPHAN % number], env=environment, capture_output=True, text=True)
    assert done.returncode == -getattr(signal, number)
    left = json.loads(done.stdout)
    wait_for(lambda: not is_running(left["pid"]) and not Path(left["folder"]).exists())


def test_a_forked_childs_exit_ends_nothing(start_server: Any) -> None:
    server = start_server(RedisServer)
    script = """
import os
from infra_testing.services import RedisServer
server = RedisServer().start()
child = os.fork()
if not child:
    server.close()
    raise SystemExit
os.waitpid(child, 0)
print(server.ping())
"""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    assert subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True).stdout.strip() == "True"
    assert server.ping()
