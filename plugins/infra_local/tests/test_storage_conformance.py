import pytest

from infra_testing.conformance.storage import AsyncStorageConformance, StorageConformance
from infra_testing.harness import Harness, Place


class TestMemory(StorageConformance):
    harness = Harness("memory")


class TestAsyncMemory(AsyncStorageConformance):
    harness = Harness("memory")


class TestLocal(StorageConformance):
    harness = Harness("local")


class TestAsyncLocal(AsyncStorageConformance):
    harness = Harness("local", {"durability": "none"})


@pytest.mark.parametrize(("durability", "durable"), [("full", True), ("file", False), ("none", False)])
def test_only_full_durability_is_called_durable(tmp_path, durability, durable):
    with Harness("local", {"durability": durability}).open("storage", Place(tmp_path)) as bucket:
        assert ("durable" in bucket.features) is durable
        bucket.put("folder/object", b"data")
        assert bucket.get("folder/object") == b"data"
