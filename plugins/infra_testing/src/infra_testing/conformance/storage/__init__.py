"""What every storage provider must do."""

from infra_testing.conformance.storage._async import AsyncStorageConformance as AsyncStorageConformance
from infra_testing.conformance.storage._sync import StorageConformance as StorageConformance
