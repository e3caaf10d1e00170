"""What every queue provider must do."""

from infra_testing.conformance.queue._async.suite import AsyncQueueConformance as AsyncQueueConformance
from infra_testing.conformance.queue._sync.suite import QueueConformance as QueueConformance
