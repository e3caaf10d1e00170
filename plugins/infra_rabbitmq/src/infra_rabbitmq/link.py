"""A connection on an I/O thread of its own, which comes back when it is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from infra.errors import ErrorCode
from infra_rabbitmq.errors import BrokerError, closed, translate

T = TypeVar("T")

_PAUSES: Final = (0.1, 5.0)  # seconds before connecting again: the first and the longest
_SILENCE: Final = 3.0  # seconds that the broker has for a round trip before a doubted connection is given up
_FAREWELL: Final = 0.5  # seconds that an abandoned connection has to close its socket

#: A call of pika's that gives its answer to a callback.
Step = Callable[[Callable[[Any], None]], Any]
#: Steps on one channel; each yield gets the answer of its step.
Procedure = Callable[[Channel], Generator[Step, Any, T]]


class Link:
    """One connection. All its callbacks, and all that is given to `call`, run in its thread; nothing else may touch the connection.

    Args:
        name: Names the thread.
        parameters: Makes the parameters, anew for each attempt, so that a password may rotate.
        up: Called when a connection is there.
        down: Called when it is lost, or could not be made.
    """

    def __init__(
        self,
        name: str,
        parameters: Callable[[], pika.ConnectionParameters],
        up: Callable[[], None],
        down: Callable[[BrokerError], None],
    ) -> None:
        self.name = name
        self.connection: pika.SelectConnection | None = None  # only while it is open
        self.error: BrokerError = BrokerError("not connected yet", ErrorCode.UNAVAILABLE)
        self.opened: Future[None] = Future()  # the outcome of the first attempt
        self.held_back: Callable[[], bool] = lambda: False  # whether the broker has said that it reads nothing for now
        self._parameters = parameters
        self._up, self._down = up, down
        self._loop: Any = IOLoop()  # pika leaves it untyped
        self._lock = threading.Lock()
        self._failures = 0
        self._closing = False
        self._doubted = False
        self._attempt: pika.SelectConnection | None = None
        self._ended: Future[None] = Future()
        self._started = False
        for shared in (self.opened, self._ended):
            shared.set_running_or_notify_cancel()  # several wait for it: one who gives up must not cancel it for the others
        self._thread = threading.Thread(target=self._run, name=f"infra-rabbitmq-{name}", daemon=True)

    # From any thread

    def start(self) -> Future[None]:
        """Connect, if nobody asked for it before; the outcome of the first attempt. Later ones follow by themselves."""
        with self._lock:
            if not self._started and not self._closing:
                self._started = True
                self._loop.add_callback_threadsafe(self._connect)
                self._thread.start()
        return self.opened

    @property
    def started(self) -> bool:
        """Whether somebody asked for the connection."""
        return self._started

    @property
    def ended(self) -> Future[None]:
        """Done when it is closed and its thread has nothing left to do."""
        return self._ended

    def call(self, function: Callable[[], None]) -> None:
        """Run `function` in the I/O thread.

        Raises:
            BrokerError: The link is closed.
        """
        if self._closing:
            raise closed()
        self._loop.add_callback_threadsafe(function)

    def close(self) -> Future[None]:
        """End the connection in good order; done when the thread has nothing left to do."""
        with self._lock:
            if not self._closing:
                self._closing = True
                if self._started:
                    self._loop.add_callback_threadsafe(self._close)
                else:
                    self._loop.close()
                    self._ended.set_result(None)
        return self._ended

    def abandon(self) -> None:
        """Stop without waiting for the broker, for when it does not answer to `close`."""
        if not self._ended.done():
            self._loop.add_callback_threadsafe(self._abandon)

    # In the I/O thread

    def later(self, delay: float, function: Callable[[], None]) -> object:
        """Run `function` after `delay` seconds; what it returns is for `forget`."""
        return self._loop.call_later(delay, function)

    def forget(self, timer: Any) -> None:
        """Do not run what `later` promised."""
        self._loop.remove_timeout(timer)

    def doubt(self) -> None:
        """An answer did not come in time: make sure that the connection lives, and replace it if not; heartbeats take a minute for that."""
        connection: Any = self.connection
        if connection is None or not connection.is_open or self._doubted:
            return
        self._doubted = True

        def answered(channel: Any) -> None:
            self._doubted = False
            self.forget(timer)
            channel.close()

        def silent() -> None:
            self._doubted = False
            if connection is self.connection and connection.is_open and not self.held_back():
                connection._terminate_stream(BrokerError("the broker has fallen silent", ErrorCode.UNAVAILABLE))

        timer = self.later(_SILENCE, silent)
        connection.channel(on_open_callback=answered)

    def perform(self, procedure: Procedure[T], done: Callable[[T | None, BrokerError | None], None]) -> None:
        """Run the steps of `procedure` on a channel of its own. A step that the broker refuses ends it."""
        if self.connection is None:
            done(None, self.error)
            return
        _Run(self, procedure, done)

    def ask(self, procedure: Procedure[T]) -> Future[T]:
        """Run a procedure; may be called from any thread. Cancelling the future ends it."""
        future: Future[T] = Future()

        def done(result: T | None, error: BrokerError | None) -> None:
            settle_future(future, result, error)

        try:
            self.call(lambda: self.perform(procedure, done))
        except BrokerError as error:
            future.set_exception(error)
        return future

    def _run(self) -> None:
        while True:
            try:
                self._loop.start()
                break
            except Exception as error:  # a callback's mistake must not end the thread that everybody waits for
                connection, self.connection = self.connection, None
                self._attempt = None
                if self._closing:
                    break
                self._failed(translate(error))
                if connection is not None and connection.is_open:
                    self._loop.call_later(0, connection.close)
        try:
            self._loop.close()
        finally:
            if not self.opened.done():
                self.opened.set_exception(closed())
            self._ended.set_result(None)

    def _connect(self) -> None:
        if self._closing:
            return
        try:
            parameters = self._parameters()
        except Exception as error:  # a secret that cannot be read, a certificate that is not there
            self._failed(error if isinstance(error, BrokerError) else BrokerError(f"{error}", ErrorCode.CONFIGURATION))
            return
        try:
            self._attempt = pika.SelectConnection(
                parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_failure,
                on_close_callback=self._on_failure,
                custom_ioloop=self._loop,
            )
        except Exception as error:
            self._failed(translate(error))

    def _on_open(self, connection: Any) -> None:
        if self._closing:
            connection.close()
            return
        self._failures = 0
        self.connection = connection
        if not self.opened.done():
            self.opened.set_result(None)
        self._up()

    def _on_failure(self, connection: Any, error: Any) -> None:
        if connection is not self._attempt:
            return
        self._attempt = None
        if self._closing:
            self.connection = None
            self._down(closed())
            self._loop.stop()
        else:
            self._failed(translate(error))

    def _failed(self, error: BrokerError) -> None:
        self.connection = None
        self.error = error
        if not self.opened.done():
            self.opened.set_exception(error)
        self._down(error)
        pause = min(_PAUSES[1], _PAUSES[0] * 2.0 ** min(self._failures, 10)) * (0.5 + random.random() / 2)  # noqa: S311
        self._failures += 1
        self._loop.call_later(pause, self._connect)

    def _close(self) -> None:
        attempt = self._attempt
        if attempt is None or attempt.is_closed:
            self._down(closed())
            self._loop.stop()
        elif not attempt.is_closing:
            attempt.close()

    def _abandon(self) -> None:
        attempt: Any = self._attempt
        self._loop.call_later(_FAREWELL, self._loop.stop)
        if attempt is not None and not attempt.is_closed:
            attempt._terminate_stream(closed())  # pika has no public way to close a socket whose broker is silent


class _Run:
    """A procedure under way."""

    def __init__(self, link: Link, procedure: Procedure[Any], done: Callable[[Any, BrokerError | None], None]) -> None:
        self._link = link
        self._done: Callable[[Any, BrokerError | None], None] | None = done
        self._procedure = procedure
        self._steps: Generator[Step, Any, Any] | None = None
        assert link.connection is not None
        self._channel: Any = link.connection.channel(on_open_callback=self._on_open)
        self._channel.add_on_close_callback(self._on_close)

    def _on_open(self, channel: Channel) -> None:
        self._steps = self._procedure(channel)
        self._next(None)

    def _next(self, answer: Any) -> None:
        steps = self._steps
        if self._done is None or steps is None:
            return
        try:
            step = steps.send(answer)
            step(self._next)
        except StopIteration as end:
            self._finish(end.value, None)
        except BrokerError as error:
            self._finish(None, error)
        except Exception as error:
            self._finish(None, translate(error))

    def _on_close(self, _channel: Any, reason: Exception) -> None:
        self._finish(None, translate(reason))

    def _finish(self, result: Any, error: BrokerError | None) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        if self._channel.is_open:
            self._channel.close()
        done(result, error)


def settle_sum(future: Future[int], first: int) -> Callable[[int, BaseException | None], None]:
    """What answers `future` with `first` and one more number, or with an error."""

    def settle(second: int, error: BaseException | None) -> None:
        settle_future(future, first + second, error)

    return settle


def settle_future(future: Future[T], result: T | None, error: BaseException | None) -> bool:
    """Answer `future`; False when nobody wants the answer any more."""
    if future.done() or not (future.running() or future.set_running_or_notify_cancel()):
        return False
    if error is None:
        future.set_result(result)  # pyright: ignore[reportArgumentType]
    else:
        future.set_exception(error)
    return True
