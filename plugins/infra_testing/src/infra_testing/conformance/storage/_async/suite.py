"""The whole suite."""

from __future__ import annotations

from infra_testing.conformance.storage._async.addresses import AsyncAddressCases
from infra_testing.conformance.storage._async.conditions import AsyncConditionCases
from infra_testing.conformance.storage._async.keys import AsyncKeyCases
from infra_testing.conformance.storage._async.listings import AsyncListingCases
from infra_testing.conformance.storage._async.objects import AsyncObjectCases
from infra_testing.conformance.storage._async.resource import AsyncResourceCases
from infra_testing.conformance.storage._async.streams import AsyncStreamCases


class AsyncStorageConformance(
    AsyncObjectCases, AsyncStreamCases, AsyncConditionCases, AsyncKeyCases, AsyncListingCases, AsyncAddressCases, AsyncResourceCases
):
    """All cases that a storage provider has to pass."""
