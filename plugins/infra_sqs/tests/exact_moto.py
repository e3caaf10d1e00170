"""moto's server, ``python exact_moto.py PORT``, put right where its queues are not those of SQS:

- It remembers deduplication ids only while their messages exist, and gives a duplicate an id and a number of its own. SQS remembers them
  for five minutes, and answers with those of the first message. ``POST /exact/forget`` lets the five minutes pass.
- It takes receipt handles for ever. SQS takes those of a FIFO queue while the lease lasts.
- Two receives at once may get the same message.
- Its long polls see only what is sent meanwhile, not what becomes visible, but once a second.
- It counts all messages of a queue, reading the clock for each, whenever one is sent or received.
- What is to be visible at once is visible once the clock has gone on: read twice within its resolution, it hides the first of a group,
  and the second overtakes it. Each reading of the clock here is later than all before it.

So that tests are quick, a poll of a second takes a tenth of one: SQS may end a poll early too, and who waits polls again.
"""

from __future__ import annotations

import copy
import math
import sys
import threading
import time
from contextlib import contextmanager
from functools import cache

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sqs import models
from moto.sqs.exceptions import InvalidParameterValue, ReceiptHandleIsInvalid
from werkzeug.serving import run_simple

PACE = 0.1
changing = threading.RLock()
latest = 0.0
sent = {}  # (queue, deduplication id): (message, when)

uncounted = [name for name in models.Queue.BASE_ATTRIBUTES if not name.startswith("Approximate")]
send_message = models.SQSBackend.send_message
receive_message = models.SQSBackend.receive_message


@contextmanager
def uncounting():
    """One at a time, without numbers of messages among the attributes."""
    with changing:
        everything, models.Queue.BASE_ATTRIBUTES = models.Queue.BASE_ATTRIBUTES, uncounted
        try:
            yield
        finally:
            models.Queue.BASE_ATTRIBUTES = everything


def later():
    """Now in milliseconds, and later than whatever was read before."""
    global latest
    with changing:
        latest = max(time.time() * 1000, math.nextafter(latest, math.inf))
        return latest


def send_once(self, queue_name, message_body, *args, **kwargs):
    with uncounting():
        queue = self.get_queue(queue_name)
        key = (id(queue), kwargs.get("deduplication_id"))
        known = sent.get(key) if queue.fifo_queue else None
        if known is not None and time.time() - known[1] < models.DEDUPLICATION_TIME_IN_SECONDS:
            return copy.copy(known[0])
        message = send_message(self, queue_name, message_body, *args, **kwargs)
        if queue.fifo_queue:
            sent[key] = (message, time.time())
        return message


def receive(self, queue_name, count, wait_seconds_timeout, *args, **kwargs):
    until = time.monotonic() + wait_seconds_timeout * PACE
    while True:
        with uncounting():
            found = receive_message(self, queue_name, count, 0, *args, **kwargs)
        if found or time.monotonic() >= until:
            return found
        time.sleep(0.005)


def add_message(self, message):
    with self._messages_lock:
        self._messages.append(message)


def check(queue, receipt_handle):
    if queue.fifo_queue:
        for message in queue._messages:
            if message.had_receipt_handle(receipt_handle) and (message.visible or message.receipt_handle != receipt_handle):
                reason = f"Value {receipt_handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
                raise InvalidParameterValue(reason)


def each(method):
    """Batches whose entries fail one by one."""

    def batch(self, queue_name, entries):
        done, failed = [], []
        queue = self.get_queue(queue_name)
        for entry in entries:
            try:
                with changing:
                    check(queue, entry["ReceiptHandle"])
                    method(self, queue_name, entry)
                done.append(entry["Id"])
            except (ReceiptHandleIsInvalid, InvalidParameterValue) as error:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message})
        return done, failed

    return batch


def counted(self, queue_name, attribute_names):
    with changing:
        return get_attributes(self, queue_name, attribute_names)


def send_batch(self, queue_name, entries):
    with uncounting():
        return send_message_batch(self, queue_name, entries)


delete_message = models.SQSBackend.delete_message
get_attributes = models.SQSBackend.get_queue_attributes
send_message_batch = models.SQSBackend.send_message_batch
models.SQSBackend.get_queue_attributes = counted
models.SQSBackend.send_message_batch = send_batch
models.camelcase_to_underscores = cache(models.camelcase_to_underscores)
models.unix_time_millis = later
change_visibility = models.SQSBackend.change_message_visibility
models.SQSBackend.send_message = send_once
models.SQSBackend.receive_message = receive
models.SQSBackend.delete_message_batch = each(lambda self, queue, entry: delete_message(self, queue, entry["ReceiptHandle"]))
models.SQSBackend.change_message_visibility_batch = each(
    lambda self, queue, entry: change_visibility(self, queue, entry["ReceiptHandle"], int(entry["VisibilityTimeout"]))
)
models.Queue.add_message = add_message

moto = DomainDispatcherApplication(create_backend_app)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/exact/forget":
        with changing:
            sent.clear()
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]
    return moto(environ, start_response)


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=MotoRequestHandler)
