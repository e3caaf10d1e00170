"""What all cases share."""

from __future__ import annotations

from infra.storage import StorageFeature
from infra_testing.conformance.base import AsyncConformance


class AsyncStorageCases(AsyncConformance):
    """The capability, and sizes that providers with other limits override."""

    capability = "storage"
    feature_type = StorageFeature
    #: The part size to test around, where the driver has none of its own.
    part_size = 1 << 20
    #: The largest object of the suite.
    large_size = 64 << 20
    #: The most memory of a stream, in bytes.
    memory_limit = 16 << 20
    #: Whether writing the same content again may give the same ETag.
    repeated_etags = False
