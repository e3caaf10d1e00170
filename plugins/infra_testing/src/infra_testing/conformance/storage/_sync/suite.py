# Generated from suite.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The whole suite."""

from __future__ import annotations

from infra_testing.conformance.storage._sync.addresses import AddressCases
from infra_testing.conformance.storage._sync.conditions import ConditionCases
from infra_testing.conformance.storage._sync.keys import KeyCases
from infra_testing.conformance.storage._sync.listings import ListingCases
from infra_testing.conformance.storage._sync.objects import ObjectCases
from infra_testing.conformance.storage._sync.resource import ResourceCases
from infra_testing.conformance.storage._sync.streams import StreamCases


class StorageConformance(ObjectCases, StreamCases, ConditionCases, KeyCases, ListingCases, AddressCases, ResourceCases):
    """All cases that a storage provider has to pass."""
