# Generated from resource.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The bucket as a resource: concurrency, life cycle, parity of both doors, features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.errors import ClosedError
from infra.runtime.threads import gather
from infra.storage import ObjectNotFoundError, StorageFeature
from infra_testing.conformance.storage._sync.basis import StorageCases
from infra_testing.conformance.storage._sync.objects import pattern
from infra_testing.conformance.storage._sync.streams import chunks


class ResourceCases(StorageCases):
    """Cases 27 to 30."""

    def test_fifty_operations_at_once_all_come_right(self, opened: Any) -> None:
        """Case 27."""
        bucket = opened()
        data = pattern(200_000)

        def work(number: int) -> Callable[[], Any]:
            def run() -> bool:
                key = f"folder-{number % 5}/object-{number}"
                bucket.put(key, data if number % 2 else chunks(4, 50_000), metadata={"number": str(number)})
                assert (bucket.head(key)).metadata["number"] == str(number)
                assert len(bucket.get(key)) == 200_000
                assert key in [info.key for info in bucket.list(f"folder-{number % 5}/")]
                bucket.copy(key, key + "-copy")
                bucket.delete(key)
                return not bucket.exists(key)

            return run

        assert gather(*map(work, range(50))) == [True] * 50
        assert len([info for info in bucket.list()]) == 50

    def test_nothing_works_after_close(self, opened: Any, tmp_path: Path) -> None:
        """Case 28."""
        bucket = opened()
        bucket.put("object", b"x")
        reader = bucket.open("object")
        reader.read(1)
        part, listing, writer = bucket.sub("part"), bucket.list(), bucket.writer("object")
        reader.close()
        bucket.close()
        calls = [
            lambda: bucket.get("object"),
            lambda: bucket.get_range("object"),
            lambda: bucket.get_many(["object"]),
            lambda: bucket.get_file("object", tmp_path / "target"),
            lambda: bucket.head("object"),
            lambda: bucket.exists("object"),
            lambda: bucket.put("object", b"y"),
            lambda: bucket.put_file("object", Path(__file__)),
            lambda: bucket.delete("object"),
            lambda: bucket.delete_many(["object"]),
            lambda: bucket.copy("object", "other"),
            lambda: bucket.move("object", "other"),
            lambda: bucket.sign("object"),
            lambda: part.get("object"),
            lambda: listing.page(),
            lambda: writer.__enter__(),
        ]
        for call in calls:
            with pytest.raises(ClosedError):
                call()
        for blocking in (bucket.open, bucket.list, bucket.writer, bucket.sub, bucket.public_url):
            with pytest.raises(ClosedError):
                blocking("object")
        again = opened()
        assert again.get("object") == b"x"

    def test_another_handle_sees_the_same_objects(self, opened: Any) -> None:
        """Case 29: the other handle is of the other door where the provider has both."""
        bucket, again = opened(), opened()
        info = bucket.put("object", b"data", content_type="x/y", metadata={"a": "b"})
        assert again.head("object") == info
        again.delete("object")
        with pytest.raises(ObjectNotFoundError):
            bucket.get("object")

    def test_resources_of_different_names_do_not_meet(self, opened: Any) -> None:
        bucket = opened()
        bucket.put("object", b"data")
        if "prefix" not in self.harness.values() and not {"bucket", "root"} & set(self.harness.values()):
            other = opened("other")
            assert not other.exists("object")
            assert other.delete("object") is None
        assert bucket.get("object") == b"data"

    def test_every_feature_is_claimed_or_refused(self, opened: Any) -> None:
        """Case 30: each feature has its own cases; this one says that none is claimed without them."""
        bucket = opened()
        assert bucket.features <= {str(feature) for feature in StorageFeature}
        covered = {
            StorageFeature.CONDITIONAL_CREATE: "test_create_refuses_an_existing_object",
            StorageFeature.CONDITIONAL_UPDATE: "test_an_etag_must_be_right",
            StorageFeature.CONDITIONAL_COPY: "test_a_copy_spares_an_existing_object_on_demand",
            StorageFeature.SIGNED_URLS: "test_a_signed_url_allows_what_it_says",
            StorageFeature.VERIFIED_URLS: "test_only_the_provider_of_verified_urls_verifies",
            StorageFeature.STORED_DIGEST: "test_the_digest_of_a_stream_is_kept_where_declared",
            StorageFeature.OVERLAPPING_KEYS: "test_a_key_beside_the_same_key_as_a_folder",
            StorageFeature.SHARED: "test_one_of_many_creators_in_several_processes_wins",
            StorageFeature.DURABLE: "test_what_was_acknowledged_is_there_for_the_next_handle",
        }
        assert set(covered) == set(StorageFeature)
        assert all(hasattr(self, name) for name in covered.values())

    def test_what_was_acknowledged_is_there_for_the_next_handle(self, opened: Any) -> None:
        """Case 30: what a test can see of ``durable``; the providers' own tests cut the process off."""
        bucket = opened()
        info = bucket.put("folder/object", pattern(100_000))
        if bucket.supports(StorageFeature.DURABLE):
            bucket.close()
        again = opened()
        assert again.head("folder/object") == info
        assert again.get("folder/object") == pattern(100_000)
