"""The deliveries of a queue that are not settled, and how they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from infra.queue.model import RELEASE, Ack, Action, Dead, Extend, PublishOutcome, QueueSpec, Receipt, Retry, SendFailure, Settled
from infra_rabbitmq.envelope import properties
from infra_rabbitmq.link import Link, settle_future
from infra_rabbitmq.publisher import Answer, Outgoing, Publisher
from infra_rabbitmq.settling import acknowledge, dead_copy, send_copies
from infra_rabbitmq.shards import KeyedToken, Shards
from infra_rabbitmq.waiting import Tenure, Token

_LONGEST_HERE: Final = 600.0  # seconds that a retry waits unsettled; well below consumer_timeout


class Deliveries:
    """What a subscription holds.

    Args:
        spec: The queue.
        link: The connection for consuming.
        publisher: Where copies go.
        shards: Those of the queue.
    """

    def __init__(self, spec: QueueSpec, link: Link, publisher: Publisher, shards: Shards) -> None:
        self.spec = spec
        self._link = link
        self._publisher = publisher
        self._shards = shards
        self._classic = publisher.layout.queue_type == "classic"
        self._channel: Any = None
        self._tenure = Tenure()
        self._generation: int = 0
        self._epoch: int = 0
        self._in_use: int = 0  # unsettled deliveries of this consumer
        self._outstanding: dict[int, Token] = {}  # by delivery tag, in order
        self._under_way: set[object] = set()  # copies that are not confirmed, and a consumer that is being ended
        self._flushed: list[Callable[[], None]] = []  # called when nothing of this is

    def settle(self, batch: Sequence[tuple[object, Action]], future: Future[list[Settled | BaseException]]) -> None:
        """Settle deliveries; answers when the copies that it takes are confirmed."""
        answers: list[Settled | BaseException] = [Settled.LOST] * len(batch)
        copies: list[tuple[Token, Action]] = []
        places: list[int] = []
        done: list[Token] = []
        keyed: list[tuple[int, KeyedToken, Action]] = []
        for place, (token, action) in enumerate(batch):
            if isinstance(token, KeyedToken):
                keyed.append((place, token, action))
                continue
            assert isinstance(token, Token)
            if token.generation != self._generation or token.tag not in self._outstanding or token.settling:
                continue
            answers[place] = Settled.DONE
            if isinstance(action, Ack):
                token.settling = True
                done.append(token)
            elif not isinstance(action, Extend):
                token.settling = True
                copies.append((token, action))
                places.append(place)
        self._acknowledge(done)
        left = 1 + bool(copies) + bool(keyed)

        def finished() -> None:
            nonlocal left
            left -= 1
            if not left:
                settle_future(future, answers, None)

        def copied(outcomes: list[Settled | BaseException]) -> None:
            for place, outcome in zip(places, outcomes, strict=True):
                answers[place] = outcome
            finished()

        if keyed:
            self._shards.settle(keyed, answers, finished)
        if copies:
            self._copy(copies, copied)
        finished()

    def _copy(
        self, settlements: Sequence[tuple[Token, Action]], done: Callable[[list[Settled | BaseException]], None], *, lost: bool = False
    ) -> None:
        """Publish copies, and acknowledge the originals when the copies are confirmed: twice is possible, never is not.

        With `lost` they are of messages that an earlier receiver left without a word.
        """
        mark = object()
        self._under_way.add(mark)

        def finish(answers: list[Answer]) -> None:
            outcomes: list[Settled | BaseException] = []
            copied: list[Token] = []
            for (token, action), answer in zip(settlements, answers, strict=True):
                token.settling = False
                outcomes.append(Settled.DONE)
                if isinstance(answer, Receipt):
                    copied.append(token)
                elif action == RELEASE:
                    self._requeue(token)
                elif isinstance(action, Retry) and action.delay > 0 and answer.outcome is PublishOutcome.REFUSED:
                    self._wait_here(token, action)
                else:
                    outcomes[-1] = answer.error
            self._acknowledge([token for token in copied if token.generation == self._generation])
            done(outcomes)
            self._ended(mark)

        if all(action == RELEASE for _, action in settlements) and not self._publisher.ready:  # it counts, but does not wait
            finish([SendFailure(PublishOutcome.NOT_SENT, self._publisher.link.error)] * len(settlements))
            return
        copies = [self._copy_of(token, action, lost=lost) for token, action in settlements]
        send_copies(self._publisher, self._link, copies, finish)

    def _copy_of(self, token: Token, action: Action, *, lost: bool) -> Outgoing:
        name, message = self.spec.name, token.message
        if isinstance(action, Dead):
            return dead_copy(self.spec, self._publisher.layout, message, action.reason)
        assert isinstance(action, Retry)
        given_back = not action.counted
        copy = properties(message, max(0, message.attempt - given_back), abandoned=lost or (given_back and token.abandoned))
        return Outgoing(name, message.id, copy, message.body, time.time() + action.delay if action.delay > 0 else None)

    def _wait_here(self, token: Token, action: Retry) -> None:
        """A retry where nothing leads to the queue after a delay: it stays unsettled, and comes again when its receiver goes."""
        token.settling = True

        def again() -> None:
            if token.generation == self._generation:
                self._copy([(token, Retry(0.0, counted=action.counted))], back)

        def back(outcomes: list[Settled | BaseException]) -> None:
            if outcomes[0] is not Settled.DONE:
                self._requeue(token)

        self._link.later(min(action.delay, _LONGEST_HERE), again)

    def _acknowledge(self, tokens: list[Token]) -> None:
        if not tokens or self._channel is None or not self._channel.is_open:
            return
        acknowledge(self._channel, self._outstanding, [token.tag for token in tokens])
        for token in tokens:
            self._forget(token)

    def _forget(self, token: Token) -> None:
        if self._outstanding.pop(token.tag, None) is not None and token.epoch == self._epoch:
            self._in_use -= 1

    def _requeue(self, token: Token) -> None:
        if token.generation == self._generation and token.tag in self._outstanding and self._channel.is_open:
            self._forget(token)
            self._channel.basic_nack(token.tag, requeue=True)

    def _ended(self, one: object) -> None:
        """Of what is under way."""
        self._under_way.discard(one)
        while self._flushed and not self._under_way:
            self._flushed.pop()()
