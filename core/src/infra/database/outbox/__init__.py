"""Messages that are published if, and only if, a transaction commits."""

from infra.database.outbox._async import AsyncRelay as AsyncRelay
from infra.database.outbox._sync import Relay as Relay
from infra.database.outbox.model import OutboxStats as OutboxStats
from infra.database.outbox.model import RelayPolicy as RelayPolicy
from infra.database.outbox.publishing import publish as publish
from infra.database.outbox.tables import Outbox as Outbox
from infra.database.outbox.tables import include as include
from infra.database.outbox.tables import metadata as metadata
