"""What only SQS has: calls of ten, groups, hops, dead-letter queues, polls, names and settings."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from infra import Infra
from infra.errors import UnsupportedError
from infra.queue import Message, PublishError, Receipt
from infra.queue.model import ACK, Retry
from infra_sqs import names
from infra_sqs.settings import SQSQueueSettings
from infra_testing.harness import Harness

PATIENCE = 90.0


def receive(queue, count, **options):
    """Exactly `count` deliveries."""
    found, deadline = [], time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came"
        found += queue.receive(max=count - len(found), wait=1, **options)
    return found


def nothing(queue):
    return not queue.receive(wait=0)


def watch(queue):
    """Counts the calls of a queue's clients, and keeps their arguments."""
    calls, sent = Counter(), []

    def note(params, model, **_):
        calls[model.name] += 1
        sent.append((model.name, json.loads(params["body"])))

    clients = queue.driver._clients
    for client in {clients.main(), clients.receiving()}:
        client.meta.events.register("before-call.sqs", note)
    return calls, sent


# Calls


@pytest.mark.parametrize("fifo", [False, True])
def test_a_message_takes_a_tenth_of_a_call_of_each_kind(make_queue, fifo):
    queue = make_queue(fifo)
    calls, _ = watch(queue)
    count = 200
    assert all(isinstance(answer, Receipt) for answer in queue.publish_many([b"x"] * count))
    deliveries = []
    while len(deliveries) < count:
        deliveries += queue.receive(max=10, wait=1, lease=600)
    for start in range(0, count, 40):
        assert set(queue.settle_many([(delivery, ACK) for delivery in deliveries[start : start + 40]])) == {"done"}
    for operation in ("SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"):
        assert calls[operation] <= 0.11 * count, calls
    assert set(calls) == {"SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"}


def test_calls_keep_within_the_bytes_that_sqs_takes(make_queue):
    queue = make_queue()
    calls, _ = watch(queue)
    answers = queue.publish_many([b"a" * 200_000] * 11 + [b"b" * ((1 << 20) - 100), b"c" * (2 << 20), b"\xff" * 800_000])
    assert [type(answer) for answer in answers] == [Receipt] * 11 + [PublishError] * 3
    assert {answer.outcome for answer in answers[11:]} == {"refused"}
    assert all("the most here" in answer.message for answer in answers[11:])
    assert calls["SendMessageBatch"] == 3
    assert len(receive(queue, 11)) == 11


def test_an_older_queue_says_what_it_takes(make_queue, moto_server, new_queue, raw):
    name = new_queue(moto_server.url)["queue"]
    raw(moto_server.url).create_queue(QueueName=name, Attributes={"MaximumMessageSize": "2048"})
    queue = make_queue(queue=name)
    good, bad = queue.publish_many([b"x" * 1000, b"x" * 2000])
    assert isinstance(good, Receipt)
    assert (bad.outcome, "1792" in bad.message) == ("refused", True)


# Envelopes


def test_headers_that_are_no_attributes_travel_too(make_queue, moto_server, raw):
    queue = make_queue()
    headers = {f"h{number}": str(number) for number in range(12)} | {
        "ž": "1",
        "AWS.x": "2",
        "a..b": "3",
        "infra": "4",
        "e": "",
        "c": "\x00",
    }
    queue.publish(b"x", headers=headers)
    (delivery,) = receive(queue, 1)
    assert dict(delivery.headers) == headers


def test_messages_of_other_publishers_are_read(make_queue, moto_server, raw):
    queue, client = make_queue(), raw(moto_server.url)
    url = client.get_queue_url(QueueName=queue.queue)["QueueUrl"]
    client.send_message(
        QueueUrl=url,
        MessageBody='{"created_at": "2024-01-01T00:00:00Z", "number": 1}',
        MessageAttributes={
            "contentType": {"DataType": "String", "StringValue": "application/json"},
            "count": {"DataType": "Number", "StringValue": "7"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00"},
            "infra": {"DataType": "String", "StringValue": "not ours"},
        },
    )
    sent = client.send_message(QueueUrl=url, MessageBody="plain")
    found = {delivery.body: delivery for delivery in receive(queue, 2)}
    assert found[b"plain"].id == sent["MessageId"]
    other = found[b'{"created_at": "2024-01-01T00:00:00Z", "number": 1}']
    assert other.decode()["number"] == 1
    assert (other.headers["count"], other.headers["raw"], other.attempt) == ("7", "AA==", 1)
    other.dead("no use")
    (letter,) = queue.dead_letters.list()
    assert (letter.message.id, letter.message.body, letter.message.headers["count"]) == (other.id, other.body, "7")


def test_text_stays_readable_for_others(make_queue, moto_server, raw):
    queue, client = make_queue(), raw(moto_server.url)
    queue.publish({"number": 1, "name": "žluť"})
    url = client.get_queue_url(QueueName=queue.queue)["QueueUrl"]
    (found,) = client.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    assert json.loads(found["Body"]) == {"number": 1, "name": "žluť"}
    assert json.loads(found["MessageAttributes"]["infra"]["StringValue"])["content_type"] == "application/json"


def test_what_a_hand_written_service_did(make_queue):
    """`enqueue_timestamped_payload(payload, message_group_id, message_deduplication_id, delay_seconds)`."""
    fifo, standard = make_queue(fifo=True), make_queue()
    _, sent = watch(fifo)
    before = datetime.now(UTC)
    fifo.publish({"user": 1}, key="user-1", dedup_key="order-7")
    (entry,) = sent[0][1]["Entries"]
    assert (entry["MessageGroupId"], entry["MessageDeduplicationId"]) == ("user-1", "order-7")
    (delivery,) = receive(fifo, 1)
    assert before - timedelta(seconds=1) <= delivery.created_at <= datetime.now(UTC)
    assert delivery.decode() == {"user": 1}
    _, sent = watch(standard)
    standard.publish({"user": 2}, delay=45)
    assert sent[0][1]["Entries"][0]["DelaySeconds"] == 45
    assert standard.stats().delayed == 1
    with pytest.raises(UnsupportedError, match="delay"):
        fifo.publish({"user": 3}, delay=45)
    good, bad = fifo.publish_many([b"x", fifo.message(b"y", delay=45)])
    assert (type(good), bad.outcome) == (Receipt, "refused")


# Delays


def test_a_delay_beyond_that_of_sqs_goes_in_hops_that_cost_no_attempts(make_queue):
    queue = make_queue()
    _, sent = watch(queue)
    queue.publish(b"x", delay=timedelta(days=1), headers={"a": "b"})
    assert sent[-1][1]["Entries"][0]["DelaySeconds"] == 900
    made = Message(b"y", deliver_at=datetime.now(UTC) - timedelta(seconds=5))
    queue.publish(made)
    (delivery,) = receive(queue, 1)
    later = datetime.now(UTC) + timedelta(days=1)
    held = delivery._token.held
    held.message = Message(b"y", id=made.id, deliver_at=later, attempt=1)
    assert queue.driver.settle(queue.queue, [(delivery._token, Retry(900, counted=False))], PATIENCE) == ["done"]
    assert [name for name, _ in sent[-2:]] == ["SendMessageBatch", "DeleteMessageBatch"]
    (entry,) = sent[-2][1]["Entries"]
    own = json.loads(entry["MessageAttributes"]["infra"]["StringValue"])
    assert (entry["DelaySeconds"], own["id"], own["deliver_at"], "attempt" in own) == (900, made.id, later.isoformat(), False)
    stats = queue.stats()
    assert (stats.delayed, stats.in_flight, stats.ready) == (2, 0, 0)


# Groups


def test_of_a_group_one_message_is_handed_out_and_the_next_without_another_call(make_queue):
    queue = make_queue(fifo=True)
    queue.publish_many([queue.message(str(number).encode(), key="k") for number in range(5)])
    calls, _ = watch(queue)
    for number in range(5):
        (delivery,) = queue.receive(max=10, wait=1, lease=600)
        assert (delivery.body, delivery.attempt) == (str(number).encode(), 1)
        delivery.ack()
    assert calls["ReceiveMessage"] == 1
    assert calls["ChangeMessageVisibilityBatch"] == 0


def test_whose_turn_has_come_stays_here_until_there_is_room(make_queue):
    queue = make_queue(fifo=True)
    queue.publish_many([queue.message(f"{key}{number}".encode(), key=key) for number in range(2) for key in ("a", "b")])
    calls, _ = watch(queue)
    for number in range(2):
        found = [one for most in ((10,), (1, 1))[number] for one in queue.receive(max=most, wait=1, lease=600)]
        assert sorted(delivery.body.decode() for delivery in found) == [f"a{number}", f"b{number}"]
        assert {delivery.attempt for delivery in found} == {1}
        for delivery in found:
            delivery.ack()
    assert (calls["ReceiveMessage"], calls["ChangeMessageVisibilityBatch"]) == (1, 0)


def test_a_retry_costs_those_behind_it_no_attempt(make_queue):
    queue = make_queue(fifo=True)
    queue.publish_many([queue.message(str(number).encode(), key="k") for number in range(3)])
    for attempt in range(1, 5):
        (delivery,) = queue.receive(max=10, wait=PATIENCE, lease=600)
        assert (delivery.body, delivery.attempt) == (b"0", attempt)
        if attempt < 4:
            delivery.retry(delay=0.2 if attempt == 2 else 0)
        else:
            delivery.ack()
    for number in (1, 2):
        (delivery,) = queue.receive(max=10, wait=PATIENCE, lease=600)
        assert (delivery.body, delivery.attempt) == (str(number).encode(), 1)
        delivery.ack()


def test_an_interrupted_receiver_gives_back_what_waits_for_its_turn(make_queue):
    queue = make_queue(fifo=True)
    other = make_queue(queue=queue.queue)
    queue.publish_many([queue.message(str(number).encode(), key="k") for number in range(3)])
    (delivery,) = queue.receive(max=10, wait=1, lease=600)
    queue.driver.interrupt(queue.queue)
    delivery.ack()
    (delivery,) = receive(other, 1, lease=600)
    assert delivery.body == b"1"


def test_a_message_dies_again_within_the_window_and_is_redriven_again(make_queue):
    queue = make_queue(fifo=True)
    receipt = queue.publish(b"x", key="k", dedup_key="d")
    for _ in range(2):
        (delivery,) = receive(queue, 1)
        assert (delivery.id, delivery.key, delivery.attempt) == (receipt.id, "k", 1)
        delivery.dead("no use")
        (letter,) = queue.dead_letters.list()
        assert (letter.message.key, letter.message.attempt, letter.reason) == ("k", 1, "no use")
        assert queue.dead_letters.redrive() == 1
    (delivery,) = receive(queue, 1)
    delivery.ack()
    assert nothing(queue)


def test_keys_that_sqs_does_not_take_keep_their_order_all_the_same(make_queue):
    queue = make_queue(fifo=True)
    key = "žluť " * 100
    queue.publish_many([queue.message(b"1", key=key, dedup_key=key + "1"), queue.message(b"2", key=key, dedup_key=key + "2")])
    (first,) = queue.receive(max=10, wait=1)
    assert (first.body, first.key) == (b"1", key)
    assert nothing(queue)


def test_messages_without_key_share_a_group_when_it_is_set(make_queue):
    queue = make_queue(fifo=True, default_group="all")
    queue.publish_many([b"1", b"2"])
    (first,) = queue.receive(max=10, wait=1)
    assert (first.body, first.key) == (b"1", None)
    assert nothing(queue)


# Dead-letter queues


def test_the_redrive_policy_of_the_server_names_the_dead_letters(make_queue, moto_server, new_queue, raw):
    client, name = raw(moto_server.url), new_queue(moto_server.url)["queue"]
    letters = client.create_queue(QueueName=f"{name}-of-ours")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})})
    queue = make_queue(queue=name)
    queue.publish_many([b"by the host", b"by the server"])
    for delivery in receive(queue, 2):
        if delivery.body == b"by the host":
            delivery.dead("said so")
        else:
            delivery.retry()
    assert nothing(queue)  # the server moves it when it would be delivered again
    found = {letter.message.body: letter.reason for letter in queue.dead_letters.list()}
    assert found == {b"by the host": "said so", b"by the server": "the server gave it up by the queue's redrive policy"}
    assert queue.stats().dead == 2
    with pytest.raises(client.exceptions.QueueDoesNotExist):
        client.get_queue_url(QueueName=f"{name}-dead")


def test_the_dead_letter_queue_can_be_named_and_looked_for_later(make_queue, moto_server, new_queue, raw):
    name = new_queue(moto_server.url)["queue"]
    raw(moto_server.url).create_queue(QueueName=name)
    queue = make_queue(queue=name, topology="check", dead_letter_queue=f"{name}-lost")
    assert queue.stats().dead is None
    with pytest.raises(Exception, match=f"{name}-lost") as caught:
        queue.dead_letters.list()
    assert caught.value.remedy
    assert make_queue(queue=name, dead_letter_queue=f"{name}-lost").dead_letters.list() == []
    assert queue.stats().dead == 0


# Polls


def test_an_interrupted_poll_serves_the_next_receive(make_queue):
    queue = make_queue()
    calls, _ = watch(queue)
    returned = []
    waiting = threading.Thread(target=lambda: returned.append(queue.driver.receive(queue.queue, 5, 20, 600)))
    waiting.start()
    deadline = time.monotonic() + PATIENCE
    while not calls["ReceiveMessage"]:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    queue.driver.interrupt(queue.queue)
    waiting.join(PATIENCE)
    assert returned == [[]]
    receipt = queue.publish(b"x")
    (delivery,) = receive(queue, 1)
    assert delivery.id == receipt.id


def test_what_a_poll_brings_after_its_receiver_has_gone_is_there_at_once(make_queue):
    queue = make_queue()
    other = make_queue(queue=queue.queue)
    waiting = threading.Thread(target=lambda: queue.driver.receive(queue.queue, 5, 20, 600))
    waiting.start()
    poller = queue.driver._poller(queue.queue)
    deadline = time.monotonic() + PATIENCE
    while not poller._running:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    queue.driver.interrupt(queue.queue)
    waiting.join(PATIENCE)
    receipt = other.publish(b"x")
    queue.close()  # waits for the poll
    (delivery,) = receive(other, 1)
    assert delivery.id == receipt.id


# Names and settings


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/jobs", "eu-central-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs", "cn-north-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/jobs.fifo", "eu-west-1"),
        ("https://sqs-fips.us-east-2.amazonaws.com/123456789012/jobs", "us-east-2"),
        ("https://sqs.us-east-1.api.aws/123456789012/jobs", "us-east-1"),
    ],
)
def test_the_url_of_a_queue_says_its_region(url, region):
    settings = SQSQueueSettings(queue=url)
    assert (settings.region, settings.endpoint, settings.fifo) == (region, None, url.endswith(".fifo"))
    assert names.on_amazon(url)


def test_the_url_of_a_queue_elsewhere_says_its_endpoint():
    settings = SQSQueueSettings(queue="http://localhost:4566/000000000000/jobs")
    assert (settings.endpoint, settings.region) == ("http://localhost:4566", None)
    assert not names.on_amazon("http://sqs.amazonaws.com.example.com/1/jobs")
    assert SQSQueueSettings.expand_url("sqs://key:secret@eu-central-1/Jobs.fifo?wait=5") == {
        "access_key_id": "key",
        "secret_access_key": "secret",
        "region": "eu-central-1",
        "queue": "Jobs.fifo",
        "wait": "5",
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"queue": "workflow.execute"}, "hyphens"),
        ({"queue": "x" * 81}, "80"),
        ({"queue": "jobs.fifo", "dead_letter_queue": "jobs-dead"}, "FIFO"),
        ({"access_key_id": "a"}, "belong together"),
        ({"endpoint": "localhost:4566"}, "URL"),
    ],
)
def test_settings_that_cannot_work_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        SQSQueueSettings(**values)


def test_one_variable_configures_the_queue_and_queues_of_a_kind_share_their_clients(moto_server, new_queue, tmp_path):
    name = new_queue(moto_server.url)["queue"]
    url = f"{moto_server.url}/123456789012/{name}"
    environ = {
        "AWS_SQS_QUEUE_URL": url,
        "AWS_ACCESS_KEY_ID": moto_server.access_key,
        "AWS_SECRET_ACCESS_KEY": moto_server.secret_key,
        "AWS_REGION": moto_server.region,
    }
    same = {"provider": "sqs", "endpoint": moto_server.url}
    settings = {"queue": {"other": {**same, "queue": f"{name}-2"}, "ordered": {**same, "queue": f"{name}.fifo"}}}
    with Infra(settings, root=tmp_path, environ=environ) as services:
        main, other, ordered = services.queue(), services.queue("other"), services.queue("ordered")
        assert main.driver is other.driver
        assert ordered.driver is not main.driver
        receipt = main.publish({"a": 1})
        (delivery,) = receive(main, 1)
        assert (delivery.id, receipt.durability) == (receipt.id, "process")
        assert nothing(other)


def test_no_call_is_made_before_it_must_be(make_driver, new_queue, place):
    settings = new_queue("http://no-such-host.invalid", topology="none")
    with Harness("sqs", settings).open("queue", place) as queue:
        assert queue.driver._clients._main is None


def test_a_client_of_the_hosts_own_is_used_and_left_open(make_driver, make_queue, moto_server, raw):
    queue, client = make_queue(), raw(moto_server.url)
    driver = make_driver({"queue": queue.queue, "region": "us-east-1"}, client)
    assert driver.unwrap() == (client,)
    (receipt,) = driver.send(queue.queue, [Message(b"x")], 10)
    (received,) = driver.receive(queue.queue, 10, 5, 60)
    assert received.message.id == receipt.id
    driver.close(10)
    client.get_queue_url(QueueName=queue.queue)
