"""Who waits for deliveries, and what they are settled by."""

from __future__ import annotations

from concurrent.futures import Future

from infra.queue.model import Message, Received


class Tenure:
    """The life of a channel, and so of all leases on it.

    Attributes:
        over: Why it has ended; None while it lasts.
    """

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over: str | None = None


class Token:
    """A delivery. It can be settled as long as the channel lives that it came on."""

    __slots__ = ("abandoned", "epoch", "generation", "message", "settling", "tag", "tenure")

    def __init__(self, tenure: Tenure, generation: int, epoch: int, tag: int, message: Message, *, abandoned: bool) -> None:
        self.tenure = tenure
        self.abandoned = abandoned  # an earlier receiver went without a word
        self.generation = generation  # of the channel
        self.epoch = epoch  # of the consumer
        self.tag = tag
        self.message = message
        self.settling = False


class Waiter:
    """A receive that waits for deliveries."""

    __slots__ = ("deadline", "future", "looks", "most", "timer")

    def __init__(self, most: int, deadline: float, future: Future[list[Received]]) -> None:
        self.most = most
        self.deadline = deadline
        self.future = future
        self.looks = 0
        self.timer: object = None
