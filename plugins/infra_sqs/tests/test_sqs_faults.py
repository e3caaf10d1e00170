"""What breaks on the way to the server, and what is set wrongly."""

from __future__ import annotations

import importlib.util
import threading
import time
from pathlib import Path

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import ClientError

from infra.errors import ErrorCode, InfraError
from infra.queue import PublishError, QueueError, Receipt
from infra.queue.model import ACK
from infra.runtime.threads import Stop
from infra_sqs.failures import classify, is_lost
from infra_testing.harness import Harness
from infra_testing.services.ports import lease_port

_spec = importlib.util.spec_from_file_location("faulty_front", Path(__file__).with_name("faulty_front.py"))
front_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(front_module)
error, fail_entries = front_module.error, front_module.fail_entries
PATIENCE = 90.0


@pytest.fixture
def front(moto_server):
    with front_module.FaultyFront(moto_server.port) as made:
        yield made


def drain(queue, count):
    """Receive and acknowledge until `count` messages came; their ids."""
    found, deadline = [], time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came"
        for delivery in queue.receive(wait=1):
            found.append(delivery.id)
            delivery.ack()
    return found


def check_line(caught, code, settings):
    """One clear line, with a remedy and without a secret."""
    text = str(caught)
    assert caught.code == code
    assert caught.remedy
    assert caught.resource == "queue.main"
    assert "\n" not in text
    assert len(text) < 600
    assert settings["secret_access_key"] not in text


# Throttling and failures of parts


def test_what_is_throttled_is_sent_again(front, make_queue):
    queue = make_queue(endpoint=front.url, attempts=1)
    left = [2]

    def rule(operation, request):
        if operation == "SendMessageBatch" and left[0]:
            left[0] -= 1
            return error(400, "RequestThrottled")
        return None

    front.rule = rule
    receipt = queue.publish(b"x")
    assert len(front.calls("SendMessageBatch")) == 3
    assert drain(queue, 1) == [receipt.id]


def test_what_is_throttled_for_good_is_one_clear_line(front, make_queue, new_queue):
    settings = new_queue(front.url, attempts=1, publish_attempts=2)
    queue = make_queue(**settings)
    front.rule = lambda operation, request: error(400, "RequestThrottled") if operation.startswith("Send") else None
    with pytest.raises(PublishError) as caught:
        queue.publish(b"x")
    check_line(caught.value, ErrorCode.RATE_LIMITED, settings)
    assert (caught.value.outcome, caught.value.retryable) == ("not_sent", True)


@pytest.mark.parametrize("fifo", [False, True])
def test_only_the_entries_that_failed_are_sent_again(front, make_queue, fifo):
    queue = make_queue(fifo, endpoint=front.url)
    first = threading.Event()

    def rule(operation, request):
        if operation == "SendMessageBatch" and not first.is_set():
            first.set()
            fail_entries(request, {1, 4})

    front.rule = rule
    answers = queue.publish_many([str(number).encode() for number in range(6)])
    assert all(isinstance(answer, Receipt) for answer in answers)
    sent = front.calls("SendMessageBatch")
    assert [[entry["MessageBody"] for entry in call["Entries"]] for call in sent] == [["0", "1", "2", "3", "4", "5"], ["1", "4"]]
    assert sorted(drain(queue, 6)) == sorted(answer.id for answer in answers)


def test_an_entry_that_is_refused_fails_alone_and_is_not_sent_again(front, make_queue):
    queue = make_queue(endpoint=front.url)

    def rule(operation, request):
        if operation == "SendMessageBatch":
            fail_entries(request, {1}, "InvalidMessageContents", sender=True)

    front.rule = rule
    answers = queue.publish_many([b"0", b"1", b"2"])
    assert [type(answer) for answer in answers] == [Receipt, PublishError, Receipt]
    assert (answers[1].outcome, answers[1].code) == ("refused", ErrorCode.INVALID_ARGUMENT)
    assert len(front.calls("SendMessageBatch")) == 1


def test_what_follows_a_failed_message_of_its_group_waits_for_it(front, make_queue):
    queue = make_queue(fifo=True, endpoint=front.url)
    first = threading.Event()

    def rule(operation, request):
        if operation == "SendMessageBatch" and not first.is_set():
            first.set()
            fail_entries(request, {9})

    front.rule = rule
    messages = [queue.message(f"a{number}".encode(), key="a") for number in range(12)]
    messages += [queue.message(b"b", key="b")]
    assert all(isinstance(answer, Receipt) for answer in queue.publish_many(messages))
    sent = [[entry["MessageBody"] for entry in call["Entries"]] for call in front.calls("SendMessageBatch")]
    assert sent == [[f"a{number}" for number in range(10)], ["b"], ["a9", "a10", "a11"]]
    handled = []
    queue.consume(lambda delivery: handled.append(delivery.body.decode()), until="empty", concurrency=1)
    assert [body for body in handled if body != "b"] == [f"a{number}" for number in range(12)]


def test_only_the_settlements_that_failed_are_tried_again(front, make_queue):
    queue = make_queue(endpoint=front.url)
    queue.publish_many([b"x"] * 5)
    deliveries = []
    while len(deliveries) < 5:
        deliveries += queue.receive(wait=1)
    first = threading.Event()

    def rule(operation, request):
        if operation == "DeleteMessageBatch" and not first.is_set():
            first.set()
            fail_entries(request, {0, 3})

    front.rule = rule
    assert set(queue.settle_many([(delivery, ACK) for delivery in deliveries])) == {"done"}
    assert [len(call["Entries"]) for call in front.calls("DeleteMessageBatch")] == [5, 2]
    stats = queue.stats()
    assert (stats.ready, stats.in_flight) == (0, 0)


def test_a_handle_that_the_server_no_longer_takes_is_a_lost_lease(front, make_queue):
    queue = make_queue(endpoint=front.url)
    queue.publish_many([b"x", b"y"])
    deliveries = []
    while len(deliveries) < 2:
        deliveries += queue.receive(wait=1)

    def rule(operation, request):
        if operation == "DeleteMessageBatch":
            fail_entries(request, {0}, "ReceiptHandleIsInvalid", sender=True)
        if operation == "ChangeMessageVisibilityBatch":
            fail_entries(request, {0}, "AWS.SimpleQueueService.MessageNotInflight", sender=True)

    front.rule = rule
    with pytest.raises(QueueError, match="lease is over"):
        deliveries[0].ack()
    with pytest.raises(QueueError, match="lease is over"):
        deliveries[1].retry(delay=5)


# A server that is away


def test_a_consumer_goes_on_when_the_server_is_back(moto_server, fault_proxy, make_queue):
    proxy = fault_proxy(moto_server)
    queue = make_queue(endpoint=proxy.url_of(moto_server.url), attempts=1, wait=1)
    other = make_queue(queue=queue.queue)
    handled, stop = [], Stop()
    consuming = threading.Thread(target=lambda: queue.consume(lambda delivery: handled.append(delivery.id), stop=stop, concurrency=2))
    consuming.start()
    try:
        for _ in range(2):
            proxy.refuse()
            proxy.reset()
            accepted = proxy.accepted
            with pytest.raises(PublishError) as caught:
                queue.publish(b"x", timeout=0.5)
            assert caught.value.outcome == "unknown"
            proxy.heal()
            receipt = other.publish(b"x")
            deadline = time.monotonic() + PATIENCE
            while receipt.id not in handled:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert proxy.accepted > accepted
    finally:
        stop.set()
        consuming.join(PATIENCE)
    assert not consuming.is_alive()


@pytest.mark.parametrize("fifo", [False, True])
def test_nothing_that_was_returned_is_lost_when_answers_are_cut_off(moto_server, fault_proxy, make_queue, fifo):
    proxy = fault_proxy(moto_server)
    queue = make_queue(fifo, endpoint=proxy.url_of(moto_server.url), attempts=1, publish_attempts=20, timeout=PATIENCE)
    other = make_queue(queue=queue.queue)
    ledger, lock, calls = [], threading.Lock(), []
    queue.driver._clients.main().meta.events.register("before-call.sqs.SendMessageBatch", lambda **_: calls.append(1))

    def publish(number):
        for start in range(0, 60, 3):
            answers = queue.publish_many([f"{number}-{start + step}".encode() for step in range(3)])
            with lock:
                ledger.extend(answer.id for answer in answers if isinstance(answer, Receipt))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    cuts = 0
    while cuts < 12:
        before = proxy.accepted
        proxy.cut_answer_to(b"SendMessageBatch")  # done, and nobody knows
        while proxy.accepted == before and any(thread.is_alive() for thread in threads):
            time.sleep(0.005)
        if proxy.accepted == before:
            break
        cuts += 1
    proxy.heal()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(calls) > 60  # some had to be made again
    assert len(ledger) == 180
    handled = []
    other.consume(lambda delivery: handled.append(delivery.id), until="empty", concurrency=8)
    assert set(ledger) <= set(handled)
    if fifo:
        assert len(handled) == len(set(handled))  # the second copy has the id of the first
    assert set(handled) == set(ledger)


# What is set wrongly


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("InvalidClientTokenId", ErrorCode.UNAUTHENTICATED),
        ("SignatureDoesNotMatch", ErrorCode.UNAUTHENTICATED),
        ("AccessDeniedException", ErrorCode.PERMISSION_DENIED),
    ],
)
def test_wrong_credentials_are_one_clear_line(front, new_queue, place, answer, code):
    settings = new_queue(front.url, secret_access_key="not-to-be-shown-anywhere")
    front.rule = lambda operation, request: error(403, answer)  # moto checks none that JSON requests carry
    with pytest.raises(InfraError) as caught:
        Harness("sqs", settings).open("queue", place)
    check_line(caught.value, code, settings)
    with Harness("sqs", {**settings, "topology": "none"}).open("queue", place) as queue:
        for use in (lambda: queue.publish(b"x"), queue.receive, queue.stats, queue.ping):
            with pytest.raises(QueueError) as caught:
                use()
            check_line(caught.value, code, settings)


def test_no_credentials_are_one_clear_line(moto_server, new_queue, place, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    settings = new_queue(moto_server.url)
    secret = settings.pop("secret_access_key")
    del settings["access_key_id"]
    with pytest.raises(InfraError) as caught:
        Harness("sqs", settings).open("queue", place)
    check_line(caught.value, ErrorCode.UNAUTHENTICATED, {"secret_access_key": secret})


def test_a_server_that_does_not_listen_is_one_clear_line(new_queue, place):
    lease = lease_port()
    try:
        for endpoint in (f"http://127.0.0.1:{lease.port}", "http://no-such-host.invalid"):
            settings = new_queue(endpoint, attempts=1, publish_attempts=1, secret_access_key="not-to-be-shown")
            with pytest.raises(InfraError) as caught:
                Harness("sqs", settings).open("queue", place)
            check_line(caught.value, ErrorCode.UNAVAILABLE, settings)
            assert caught.value.retryable
            url = f"{endpoint}/123456789012/jobs"
            with Harness("sqs", {**settings, "queue": url, "topology": "none"}).open("queue", place) as queue:
                for use in (lambda queue=queue: queue.publish(b"x"), queue.receive, queue.stats, queue.dead_letters.list):
                    with pytest.raises(QueueError) as caught:
                        use()
                    check_line(caught.value, ErrorCode.UNAVAILABLE, settings)
                assert queue.health().status == "down"
    finally:
        lease.release()


def test_a_queue_that_was_deleted_is_one_clear_line(moto_server, new_queue, place, raw):
    settings = new_queue(moto_server.url)
    with Harness("sqs", settings).open("queue", place) as queue:
        url = raw(moto_server.url).get_queue_url(QueueName=settings["queue"])["QueueUrl"]
        raw(moto_server.url).delete_queue(QueueUrl=url)
        for use in (lambda: queue.publish(b"x"), queue.receive, queue.stats):
            with pytest.raises(QueueError) as caught:
                use()
            assert caught.value.code == ErrorCode.NOT_FOUND
            assert "\n" not in str(caught.value)
        with pytest.raises(QueueError):
            queue.consume(print, until="empty")


def refused(code, status=400, message="m"):
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "SendMessageBatch")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (refused("AWS.SimpleQueueService.NonExistentQueue"), ErrorCode.NOT_FOUND),
        (refused("QueueDoesNotExist"), ErrorCode.NOT_FOUND),
        (refused("RequestThrottled"), ErrorCode.RATE_LIMITED),
        (refused("OverLimit"), ErrorCode.RATE_LIMITED),
        (refused("AccessDeniedException"), ErrorCode.PERMISSION_DENIED),
        (refused("KmsAccessDenied"), ErrorCode.PERMISSION_DENIED),
        (refused("InvalidClientTokenId", 403), ErrorCode.UNAUTHENTICATED),
        (refused("ExpiredToken", 403), ErrorCode.UNAUTHENTICATED),
        (refused("SomethingNew", 403), ErrorCode.PERMISSION_DENIED),
        (refused("SomethingNew", 503), ErrorCode.UNAVAILABLE),
        (refused("SomethingNew"), ErrorCode.INTERNAL),
        (refused("InternalFailure", 500), ErrorCode.UNAVAILABLE),
        (refused("BatchRequestTooLong"), ErrorCode.INVALID_ARGUMENT),
        (sdk.NoCredentialsError(), ErrorCode.UNAUTHENTICATED),
        (sdk.ConnectTimeoutError(endpoint_url="x"), ErrorCode.TIMEOUT),
        (sdk.EndpointConnectionError(endpoint_url="x"), ErrorCode.UNAVAILABLE),
        (sdk.NoRegionError(), ErrorCode.CONFIGURATION),
        (ValueError("not the SDK's"), None),
    ],
)
def test_errors_are_classified_by_code_and_status(failure, code):
    assert classify(failure) == code


def test_a_lost_lease_is_known_by_code_or_words():
    assert is_lost(refused("ReceiptHandleIsInvalid"))
    assert is_lost(refused("InvalidParameterValue", message="Value x is invalid. Reason: The receipt handle has expired."))
    assert not is_lost(refused("InvalidParameterValue", message="Total VisibilityTimeout for the message is beyond the limit"))
