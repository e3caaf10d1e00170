# Generated from conditions.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Conditional writes: between tasks, threads and processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from infra.errors import ErrorCode, InfraError
from infra.runtime.threads import gather
from infra.storage import ObjectExistsError, PreconditionFailedError, StorageError, StorageFeature
from infra_testing.conformance.storage._sync.basis import StorageCases
from infra_testing.conformance.storage._sync.streams import chunks
from infra_testing.conformance.storage.contenders import Contest
from infra_testing.harness import Place


class ConditionCases(StorageCases):
    """Cases 10 to 12."""

    def refused_where_absent(self, bucket: Any, feature: StorageFeature, mode: str) -> bool:
        """Whether the provider lacks `feature`, and then says so instead of writing without the condition."""
        if bucket.supports(feature):
            return False
        with pytest.raises(InfraError, match=str(feature)) as caught:
            bucket.put("object", b"x", mode=mode)
        assert caught.value.code == ErrorCode.UNSUPPORTED
        assert caught.value.remedy
        return True

    def test_create_refuses_an_existing_object(self, opened: Any) -> None:
        """Cases 10 and 12."""
        bucket = opened()
        if self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_CREATE, "create"):
            return
        old = bucket.put("folder/object", b"first", mode="create")
        for source in (b"second", chunks(30)):
            with pytest.raises(ObjectExistsError) as caught:
                bucket.put("folder/object", source, mode="create")
            assert caught.value.code == ErrorCode.ALREADY_EXISTS
        assert bucket.head("folder/object") == old
        assert [info.key for info in bucket.list()] == ["folder/object"]
        bucket.delete("folder/object")
        assert (bucket.put("folder/object", chunks(30), mode="create")).size == 3_000_000

    def test_one_of_many_creators_wins(self, opened: Any) -> None:
        """Case 10."""
        bucket = opened()
        if self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_CREATE, "create"):
            return

        def creator(number: int) -> Callable[[], Any]:
            def run() -> Any:
                return bucket.put("object", b"%d" % number, mode="create")

            return run

        results = gather(*map(creator, range(32)))
        winners = [number for number, result in enumerate(results) if not isinstance(result, BaseException)]
        assert len(winners) == 1
        assert all(isinstance(result, ObjectExistsError) for number, result in enumerate(results) if number not in winners)
        assert bucket.get("object") == b"%d" % winners[0]

    def test_one_of_many_creators_in_several_processes_wins(self, opened: Any, place: Place) -> None:
        """Case 10. Where processes share nothing, a process must not see the object at all."""
        bucket = opened()
        if not bucket.supports(StorageFeature.SHARED):
            bucket.put("object", b"x")
            assert Contest(self.harness, place, "exists", "object", processes=1, threads=1).run() == [0]
            return
        if self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_CREATE, "create"):
            return
        assert sum(Contest(self.harness, place, "create", "folder/object").run()) == 1
        assert bucket.get("folder/object") == b"mine"

    def test_an_etag_must_be_right(self, opened: Any) -> None:
        """Cases 11 and 12."""
        bucket = opened()
        if self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_UPDATE, "some-etag"):
            return
        first = bucket.put("object", b"first")
        with pytest.raises(PreconditionFailedError):
            bucket.put("missing", b"x", mode=first.etag)
        assert not bucket.exists("missing")
        second = bucket.put("object", b"second", mode=first.etag)
        for source in (b"third", chunks(30)):
            with pytest.raises(PreconditionFailedError) as caught:
                bucket.put("object", source, mode=first.etag)
            assert caught.value.code == ErrorCode.PRECONDITION_FAILED
        assert bucket.head("object") == second
        third = bucket.put("object", chunks(30), mode=second.etag)
        assert third.size == 3_000_000
        bucket.delete("object")
        with pytest.raises(PreconditionFailedError):
            bucket.put("object", b"x", mode=third.etag)
        assert [info.key for info in bucket.list()] == []

    def test_an_empty_etag_is_no_condition_and_refused(self, opened: Any) -> None:
        """Case 11."""
        bucket = opened()
        bucket.put("object", b"old")
        for mode in ("", " "):
            with pytest.raises(StorageError, match="empty"):
                bucket.put("object", b"new", mode=mode)
        assert bucket.get("object") == b"old"

    def test_an_etag_changes_with_every_write(self, opened: Any) -> None:
        """Case 11: also when a write repeats what was there before, but where the ETag is a hash of the content."""
        bucket = opened()
        etags = [(bucket.put("object", b"%d" % number if self.repeated_etags else b"same")).etag for number in range(20)]
        if bucket.supports(StorageFeature.CONDITIONAL_UPDATE):
            assert len(set(etags)) == 20

    def test_a_read_can_ask_for_a_version(self, opened: Any) -> None:
        """Case 11."""
        bucket = opened()
        first = bucket.put("object", b"first")
        assert bucket.get("object", if_match=first.etag) == b"first"
        assert bucket.get_range("object", 1, 2, if_match=first.etag) == b"ir"
        second = bucket.put("object", b"other")
        with pytest.raises(PreconditionFailedError):
            bucket.get("object", if_match=first.etag)
        assert bucket.get("object", if_match=second.etag) == b"other"

    def test_no_update_of_many_tasks_is_lost(self, opened: Any) -> None:
        """Case 11."""
        bucket = opened()
        if self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_UPDATE, "some-etag"):
            return
        bucket.put("counter", b"0")

        def increment() -> int:
            wins = 0
            for _ in range(10):
                info = bucket.head("counter")
                try:
                    value = int(bucket.get("counter", if_match=info.etag))
                    bucket.put("counter", b"%d" % (value + 1), mode=info.etag)
                    wins += 1
                except PreconditionFailedError:
                    continue
            return wins

        results = gather(*[increment] * 8)
        assert int(bucket.get("counter")) == sum(result for result in results if not isinstance(result, BaseException)) > 0
        assert not [result for result in results if isinstance(result, BaseException)]

    def test_no_update_of_several_processes_is_lost(self, opened: Any, place: Place) -> None:
        """Case 11. Where processes share nothing, the case above says it all."""
        bucket = opened()
        if not bucket.supports(StorageFeature.SHARED) or not bucket.supports(StorageFeature.CONDITIONAL_UPDATE):
            assert {StorageFeature.SHARED, StorageFeature.CONDITIONAL_UPDATE} - bucket.features
            return
        bucket.put("counter", b"0")
        wins = Contest(self.harness, place, "increment", "counter", processes=4, threads=2, rounds=15).run()
        assert int(bucket.get("counter")) == sum(wins) > 0
