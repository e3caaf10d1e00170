"""The cases, by subject; the numbers are those of the design."""

from infra_testing.conformance.storage._async.suite import AsyncStorageConformance as AsyncStorageConformance
