"""The suite of queues. The numbers in the docstrings are those of the design's list of cases."""

from __future__ import annotations

from infra.queue.model import QueueFeature
from infra_testing.conformance.base import AsyncConformance
from infra_testing.conformance.queue._async.arguments import AsyncArgumentCases
from infra_testing.conformance.queue._async.consuming import AsyncConsumingCases
from infra_testing.conformance.queue._async.faults import AsyncQueueFaultCases
from infra_testing.conformance.queue._async.publishing import AsyncPublishingCases
from infra_testing.conformance.queue._async.receiving import AsyncReceivingCases


class AsyncQueueConformance(
    AsyncPublishingCases, AsyncReceivingCases, AsyncConsumingCases, AsyncArgumentCases, AsyncQueueFaultCases, AsyncConformance
):
    """Give it a `harness`; set `lease` and `tick` to what the provider can measure."""

    capability = "queue"
    feature_type = QueueFeature
