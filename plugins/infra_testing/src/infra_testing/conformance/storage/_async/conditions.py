"""Conditional writes: between tasks, threads and processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from infra.errors import ErrorCode, InfraError
from infra.runtime.aio import gather
from infra.storage import ObjectExistsError, PreconditionFailedError, StorageError, StorageFeature
from infra_testing.conformance.storage._async.basis import AsyncStorageCases
from infra_testing.conformance.storage._async.streams import chunks
from infra_testing.conformance.storage.contenders import Contest
from infra_testing.harness import Place


class AsyncConditionCases(AsyncStorageCases):
    """Cases 10 to 12."""

    async def refused_where_absent(self, bucket: Any, feature: StorageFeature, mode: str) -> bool:
        """Whether the provider lacks `feature`, and then says so instead of writing without the condition."""
        if bucket.supports(feature):
            return False
        with pytest.raises(InfraError, match=str(feature)) as caught:
            await bucket.put("object", b"x", mode=mode)
        assert caught.value.code == ErrorCode.UNSUPPORTED
        assert caught.value.remedy
        return True

    async def test_create_refuses_an_existing_object(self, opened: Any) -> None:
        """Cases 10 and 12."""
        bucket = await opened()
        if await self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_CREATE, "create"):
            return
        old = await bucket.put("folder/object", b"first", mode="create")
        for source in (b"second", chunks(30)):
            with pytest.raises(ObjectExistsError) as caught:
                await bucket.put("folder/object", source, mode="create")
            assert caught.value.code == ErrorCode.ALREADY_EXISTS
        assert await bucket.head("folder/object") == old
        assert [info.key async for info in bucket.list()] == ["folder/object"]
        await bucket.delete("folder/object")
        assert (await bucket.put("folder/object", chunks(30), mode="create")).size == 3_000_000

    async def test_one_of_many_creators_wins(self, opened: Any) -> None:
        """Case 10."""
        bucket = await opened()
        if await self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_CREATE, "create"):
            return

        def creator(number: int) -> Callable[[], Any]:
            async def run() -> Any:
                return await bucket.put("object", b"%d" % number, mode="create")

            return run

        results = await gather(*map(creator, range(32)))
        winners = [number for number, result in enumerate(results) if not isinstance(result, BaseException)]
        assert len(winners) == 1
        assert all(isinstance(result, ObjectExistsError) for number, result in enumerate(results) if number not in winners)
        assert await bucket.get("object") == b"%d" % winners[0]

    async def test_one_of_many_creators_in_several_processes_wins(self, opened: Any, place: Place) -> None:
        """Case 10. Where processes share nothing, a process must not see the object at all."""
        bucket = await opened()
        if not bucket.supports(StorageFeature.SHARED):
            await bucket.put("object", b"x")
            assert Contest(self.harness, place, "exists", "object", processes=1, threads=1).run() == [0]
            return
        if await self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_CREATE, "create"):
            return
        assert sum(Contest(self.harness, place, "create", "folder/object").run()) == 1
        assert await bucket.get("folder/object") == b"mine"

    async def test_an_etag_must_be_right(self, opened: Any) -> None:
        """Cases 11 and 12."""
        bucket = await opened()
        if await self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_UPDATE, "some-etag"):
            return
        first = await bucket.put("object", b"first")
        with pytest.raises(PreconditionFailedError):
            await bucket.put("missing", b"x", mode=first.etag)
        assert not await bucket.exists("missing")
        second = await bucket.put("object", b"second", mode=first.etag)
        for source in (b"third", chunks(30)):
            with pytest.raises(PreconditionFailedError) as caught:
                await bucket.put("object", source, mode=first.etag)
            assert caught.value.code == ErrorCode.PRECONDITION_FAILED
        assert await bucket.head("object") == second
        third = await bucket.put("object", chunks(30), mode=second.etag)
        assert third.size == 3_000_000
        await bucket.delete("object")
        with pytest.raises(PreconditionFailedError):
            await bucket.put("object", b"x", mode=third.etag)
        assert [info.key async for info in bucket.list()] == []

    async def test_an_empty_etag_is_no_condition_and_refused(self, opened: Any) -> None:
        """Case 11."""
        bucket = await opened()
        await bucket.put("object", b"old")
        for mode in ("", " "):
            with pytest.raises(StorageError, match="empty"):
                await bucket.put("object", b"new", mode=mode)
        assert await bucket.get("object") == b"old"

    async def test_an_etag_changes_with_every_write(self, opened: Any) -> None:
        """Case 11: also when a write repeats what was there before, but where the ETag is a hash of the content."""
        bucket = await opened()
        etags = [(await bucket.put("object", b"%d" % number if self.repeated_etags else b"same")).etag for number in range(20)]
        if bucket.supports(StorageFeature.CONDITIONAL_UPDATE):
            assert len(set(etags)) == 20

    async def test_a_read_can_ask_for_a_version(self, opened: Any) -> None:
        """Case 11."""
        bucket = await opened()
        first = await bucket.put("object", b"first")
        assert await bucket.get("object", if_match=first.etag) == b"first"
        assert await bucket.get_range("object", 1, 2, if_match=first.etag) == b"ir"
        second = await bucket.put("object", b"other")
        with pytest.raises(PreconditionFailedError):
            await bucket.get("object", if_match=first.etag)
        assert await bucket.get("object", if_match=second.etag) == b"other"

    async def test_no_update_of_many_tasks_is_lost(self, opened: Any) -> None:
        """Case 11."""
        bucket = await opened()
        if await self.refused_where_absent(bucket, StorageFeature.CONDITIONAL_UPDATE, "some-etag"):
            return
        await bucket.put("counter", b"0")

        async def increment() -> int:
            wins = 0
            for _ in range(10):
                info = await bucket.head("counter")
                try:
                    value = int(await bucket.get("counter", if_match=info.etag))
                    await bucket.put("counter", b"%d" % (value + 1), mode=info.etag)
                    wins += 1
                except PreconditionFailedError:
                    continue
            return wins

        results = await gather(*[increment] * 8)
        assert int(await bucket.get("counter")) == sum(result for result in results if not isinstance(result, BaseException)) > 0
        assert not [result for result in results if isinstance(result, BaseException)]

    async def test_no_update_of_several_processes_is_lost(self, opened: Any, place: Place) -> None:
        """Case 11. Where processes share nothing, the case above says it all."""
        bucket = await opened()
        if not bucket.supports(StorageFeature.SHARED) or not bucket.supports(StorageFeature.CONDITIONAL_UPDATE):
            assert {StorageFeature.SHARED, StorageFeature.CONDITIONAL_UPDATE} - bucket.features
            return
        await bucket.put("counter", b"0")
        wins = Contest(self.harness, place, "increment", "counter", processes=4, threads=2, rounds=15).run()
        assert int(await bucket.get("counter")) == sum(wins) > 0
