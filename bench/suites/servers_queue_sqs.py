"""Queue on SQS.

Publishing and receiving beside boto3's own calls, on moto's server, whose answers take longer than anything that a client does: what counts
is how many calls a message costs (each is paid for) and the client's CPU. Bodies of 1 KB.
"""

from __future__ import annotations

from typing import Any

import boto3
from harness import Bench, Contender
from suites.servers_queue import BODY, TIMEOUT, Countdown

from infra.queue import Message
from infra.runtime.threads import Stop
from infra_testing.services import MotoServer

TEXT = BODY.decode()
BATCH = 10


def measure(bench: Bench) -> None:
    """Publish one, publish many, consume."""
    bench.packages += ["infra-sqs", "boto3", "botocore", "moto"]
    server = bench.serve(MotoServer)
    settings: dict[str, Any] = {
        "endpoint": server.url,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "region": server.region,
    }
    queue = bench.open("queue", "sqs", queue="ours", wait=1, **settings)
    client = boto3.client(
        "sqs",
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )
    bench.stack.callback(client.close)
    url = client.create_queue(QueueName="raw")["QueueUrl"]
    calls = Calls(queue.driver.unwrap()[0])
    publishing(bench, queue, client, url, calls)
    worked = bench.open("queue", "sqs", queue="worked", wait=1, **settings)
    url = client.create_queue(QueueName="raw-worked")["QueueUrl"]
    consuming(bench, worked, client, url, Calls(worked.driver.unwrap()[0]))


class Calls:
    """Counts what our client sends.

    Args:
        client: The client.
    """

    def __init__(self, client: Any) -> None:
        self.made = 0
        client.meta.events.register("before-send.sqs", self._count)

    def _count(self, **_: Any) -> None:
        self.made += 1

    def during(self, run: Any, messages: int) -> float:
        """How many calls a message took."""
        before = self.made
        run()
        return (self.made - before) / messages


def send_batch(client: Any, url: str) -> None:
    """Ten messages in one call."""
    client.send_message_batch(QueueUrl=url, Entries=[{"Id": str(number), "MessageBody": TEXT} for number in range(BATCH)])


def publishing(bench: Bench, queue: Any, client: Any, url: str, calls: Calls) -> None:
    """One by one, and batches."""
    bench.compare(
        "publish",
        Contender("boto3, send_message", bench.repeat(lambda: client.send_message(QueueUrl=url, MessageBody=TEXT))),
        Contender("driver", bench.repeat(lambda: queue.driver.send(queue.queue, [Message(BODY)], TIMEOUT))),
        Contender("portable", bench.repeat(lambda: queue.publish(BODY))),
        operations=20,
    )
    bench.at_most("publish: the core", "portable", 1.10, over="driver")
    case = "publish 100 at once, a message"
    bench.compare(
        case,
        Contender("boto3, send_message_batch of 10", bench.repeat(lambda: send_batch(client, url), size=BATCH)),
        Contender("driver", bench.repeat(lambda: queue.driver.send(queue.queue, [Message(BODY) for _ in range(100)], TIMEOUT), size=100)),
        Contender("portable", bench.repeat(lambda: queue.publish_many([BODY] * 100), size=100)),
        operations=100,
        step=100,
        unit="message",
    )
    bench.at_most(f"{case}: the core", "portable", 1.10, over="driver")
    bench.absolute(case, calls.during(lambda: queue.publish_many([BODY] * 100), 100), 0.11, "calls a message")


def consuming(bench: Bench, queue: Any, client: Any, url: str, calls: Calls) -> None:
    """A handler that does nothing."""

    def plain(count: int) -> None:
        left = count
        while left:
            found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=1).get("Messages", [])
            if found:
                entries = [{"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]} for number, one in enumerate(found)]
                client.delete_message_batch(QueueUrl=url, Entries=entries)
            left -= len(found)

    def ours(count: int) -> None:
        stop, counted = Stop(), Countdown(count)
        queue.consume(lambda _: counted() and stop.set(), stop=stop)

    def fill_raw(count: int) -> None:
        for _ in range(count // BATCH):
            send_batch(client, url)

    case = "consume, a message"
    bench.compare(
        case,
        Contender("boto3, receive_message of 10, delete_message_batch", plain, prepare=fill_raw),
        Contender("portable", ours, prepare=lambda count: queue.publish_many([BODY] * count)),
        operations=100,
        step=100,
        unit="message",
        rounds=5,
    )
    queue.publish_many([BODY] * 200)
    made = calls.during(lambda: ours(200), 200)
    bench.absolute(
        f"{case}: received and deleted",
        made,
        0.22,
        "calls a message",
        why="handlers end one by one: what is settled at that moment is one batch, which need not be full",
    )
