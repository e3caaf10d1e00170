"""The blocking side of the runtime. `infra.runtime.aio` has the same names."""

from infra.runtime.threads.background import Background as Background
from infra.runtime.threads.background import Stop as Stop
from infra.runtime.threads.background import Watchdog as Watchdog
from infra.runtime.threads.background import gather as gather
from infra.runtime.threads.batching import Batcher as Batcher
from infra.runtime.threads.calls import call as call
from infra.runtime.threads.calls import ends_caller as ends_caller
from infra.runtime.threads.calls import owner as owner
from infra.runtime.threads.calls import shielded as shielded
from infra.runtime.threads.calls import sleep as sleep
from infra.runtime.threads.calls import within as within
from infra.runtime.threads.channel import Channel as Channel
from infra.runtime.threads.flight import SingleFlight as SingleFlight
from infra.runtime.threads.locks import Condition as Condition
from infra.runtime.threads.locks import Event as Event
from infra.runtime.threads.locks import Lock as Lock
from infra.runtime.threads.locks import Semaphore as Semaphore
from infra.runtime.threads.locks import acquired as acquired
from infra.runtime.threads.locks import wait_for as wait_for
from infra.runtime.threads.pipe import Pipe as Pipe
from infra.runtime.threads.scope import Scope as Scope
from infra.runtime.threads.turns import Turns as Turns
from infra.runtime.threads.turns import continues as continues
