"""The asyncio side of the runtime. `infra.runtime.threads` has the same names."""

from infra.runtime.aio.background import Background as Background
from infra.runtime.aio.background import Stop as Stop
from infra.runtime.aio.background import Watchdog as Watchdog
from infra.runtime.aio.background import gather as gather
from infra.runtime.aio.batching import Batcher as Batcher
from infra.runtime.aio.calls import call as call
from infra.runtime.aio.calls import ends_caller as ends_caller
from infra.runtime.aio.calls import owner as owner
from infra.runtime.aio.calls import shielded as shielded
from infra.runtime.aio.calls import sleep as sleep
from infra.runtime.aio.calls import within as within
from infra.runtime.aio.channel import Channel as Channel
from infra.runtime.aio.flight import SingleFlight as SingleFlight
from infra.runtime.aio.locks import Condition as Condition
from infra.runtime.aio.locks import Event as Event
from infra.runtime.aio.locks import Lock as Lock
from infra.runtime.aio.locks import Semaphore as Semaphore
from infra.runtime.aio.locks import acquired as acquired
from infra.runtime.aio.locks import wait_for as wait_for
from infra.runtime.aio.pipe import Pipe as Pipe
from infra.runtime.aio.scope import Scope as Scope
from infra.runtime.aio.turns import Turns as Turns
from infra.runtime.aio.turns import continues as continues
