# Generated from suite.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The suite of queues. The numbers in the docstrings are those of the design's list of cases."""

from __future__ import annotations

from infra.queue.model import QueueFeature
from infra_testing.conformance.base import Conformance
from infra_testing.conformance.queue._sync.arguments import ArgumentCases
from infra_testing.conformance.queue._sync.consuming import ConsumingCases
from infra_testing.conformance.queue._sync.faults import QueueFaultCases
from infra_testing.conformance.queue._sync.publishing import PublishingCases
from infra_testing.conformance.queue._sync.receiving import ReceivingCases


class QueueConformance(PublishingCases, ReceivingCases, ConsumingCases, ArgumentCases, QueueFaultCases, Conformance):
    """Give it a `harness`; set `lease` and `tick` to what the provider can measure."""

    capability = "queue"
    feature_type = QueueFeature
