"""The portable class over a driver that has little and fails on demand."""

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from infra.errors import ErrorCode, UnsupportedError
from infra.plugin import OpenContext
from infra.runtime.bridge import ThreadBridge
from infra.storage import (
    AsyncBucket,
    Bucket,
    DeleteError,
    IntegrityError,
    KeyConflictError,
    ObjectInfo,
    ObjectNotFoundError,
    StorageError,
    StorageLimits,
)
from infra.storage.settings import StorageSettings
from infra.storage.threaded import ThreadedStorageDriver


class SDKError(Exception):
    def __init__(self, code, text="the SDK says no"):
        super().__init__(text)
        self.code = code


class BareDriver:
    """Keeps what was put; `fail` raises in every method."""

    def __init__(self):
        self.features = frozenset()
        self.limits = StorageLimits(delete_batch=3)
        self.objects = {}
        self.fail = None
        self.cut = 0
        self.digest = None
        self.batches = []
        self.take = None
        self.closed_readers = 0

    def classify(self, error):
        return error.code if isinstance(error, SDKError) else None

    def unwrap(self):
        return ()

    def public_url(self, key):
        return f"https://public/{key}"

    def ping(self, timeout):
        self._check()

    def close(self, timeout):
        pass

    def _check(self):
        if self.fail:
            raise self.fail

    def _info(self, key, size):
        return ObjectInfo(key, size, "etag", datetime.now(UTC), sha256=self.digest)

    def head(self, key, timeout):
        self._check()
        return self._info(key, len(self.objects[key]))

    def open(self, key, offset, length, if_match, timeout):
        self._check()
        driver, data = self, self.objects[key]

        class Reader:
            info = self._info(key, len(data))
            rest = data[: len(data) - self.cut]

            def read(self, size, timeout):
                chunk, self.rest = self.rest[:size], self.rest[size:]
                return chunk

            def close(self):
                driver.closed_readers += 1

        return Reader()

    def put(self, key, body, options, timeout):
        self._check()
        if isinstance(body, bytes):
            self.objects[key] = body
        else:
            chunks = []
            for chunk in body:
                chunks.append(chunk)
                if self.take is not None and len(chunks) == self.take:
                    raise SDKError(ErrorCode.UNAVAILABLE)
            self.objects[key] = b"".join(chunks)
        return self._info(key, len(self.objects[key]))

    def delete_many(self, keys, timeout):
        self.batches.append(list(keys))
        return {key: SDKError(ErrorCode.PERMISSION_DENIED) for key in keys if "locked" in key}


@pytest.fixture
def driver():
    return BareDriver()


@pytest.fixture
def bucket(driver):
    return Bucket(driver, StorageSettings(), OpenContext(capability="storage", name="main", provider="bare"))


@pytest.fixture
async def async_bucket(driver):
    bridge = ThreadBridge("test", 2)
    bucket = AsyncBucket(
        ThreadedStorageDriver(driver, bridge), StorageSettings(), OpenContext(capability="storage", name="main", provider="bare")
    )
    yield bucket
    await bucket.close()


def test_what_the_provider_cannot_check_is_never_written(bucket, driver):
    for mode in ("create", "some-etag"):
        with pytest.raises(UnsupportedError, match="conditional"):
            bucket.put("object", b"x", mode=mode)
        with pytest.raises(UnsupportedError, match="conditional"), bucket.writer("object", mode=mode):
            pass
    with pytest.raises(UnsupportedError):
        bucket.copy("object", "other", mode="create")
    with pytest.raises(UnsupportedError):
        bucket.sign("object")
    assert not driver.objects


@pytest.mark.parametrize(
    ("code", "leaf"),
    [
        (ErrorCode.NOT_FOUND, ObjectNotFoundError),
        (ErrorCode.CONFLICT, KeyConflictError),
        (ErrorCode.DATA_LOSS, IntegrityError),
        (ErrorCode.UNAVAILABLE, StorageError),
        (ErrorCode.UNAUTHENTICATED, StorageError),
    ],
)
def test_an_exception_of_the_sdk_becomes_one_of_the_room(bucket, driver, code, leaf):
    driver.fail = SDKError(code)
    with pytest.raises(leaf, match="SDK says no") as caught:
        bucket.head("object")
    assert type(caught.value) is leaf
    assert caught.value.__cause__ is driver.fail
    assert (caught.value.code, caught.value.resource, caught.value.operation) == (code, "storage.main", "head")
    assert "SDK" not in caught.value.public_message


def test_deletions_go_in_batches_and_all_failures_are_named(bucket, driver):
    with pytest.raises(DeleteError) as caught:
        bucket.delete_many(["1", "locked-2", "3", "4", "/5", "locked-6", "7"])
    assert [len(batch) for batch in driver.batches] == [3, 3]
    assert set(caught.value.failed) == {"locked-2", "/5", "locked-6"}
    assert caught.value.failed["locked-2"].code == ErrorCode.PERMISSION_DENIED
    with pytest.raises(StorageError, match="SDK says no"):
        bucket.delete("locked")


@pytest.mark.parametrize("verify", [True, False])
def test_a_wrong_digest_is_data_loss_unless_switched_off(driver, verify):
    bucket = Bucket(driver, StorageSettings(verify_reads=verify), OpenContext(capability="storage", name="main", provider="bare"))
    driver.digest = "0" * 64
    driver.objects["object"] = b"data" * 100_000
    if not verify:
        assert bucket.get("object") == driver.objects["object"]
        return
    for read in (lambda: bucket.get("object"), lambda: list(bucket.open("object"))):
        with pytest.raises(IntegrityError, match="SHA-256"):
            read()
    received = bytearray()
    with pytest.raises(IntegrityError):
        for chunk in bucket.open("object"):
            received += chunk
    assert len(received) < 400_000
    assert driver.closed_readers == 3


def test_a_body_that_ends_early_is_data_loss(bucket, driver):
    driver.objects["object"] = b"data" * 1000
    driver.cut = 1
    with pytest.raises(IntegrityError, match="1 bytes early"):
        bucket.get("object")
    assert driver.closed_readers == 1


def test_a_small_stream_travels_as_bytes_and_a_source_is_closed(bucket, driver):
    closed = []

    def source(count):
        try:
            for _ in range(count):
                yield b"x" * 1000
        finally:
            closed.append(count)

    bucket.put("small", source(10))
    driver.take = 2
    with pytest.raises(StorageError, match="SDK says no"):
        bucket.put("large", source(5000))
    assert driver.objects == {"small": b"x" * 10_000}
    assert closed == [10, 5000]


def test_a_public_url_comes_from_the_driver(bucket):
    assert bucket.public_url("a/b") == "https://public/a/b"


async def test_a_driver_that_fails_early_stops_an_endless_source(async_bucket, driver):
    pulled = 0

    async def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield b"x" * 300_000

    driver.take = 3
    with pytest.raises(StorageError, match="SDK says no"):
        await asyncio.wait_for(async_bucket.put("object", endless()), 60)
    assert pulled < 12


async def test_streams_wait_for_a_slow_driver_with_bounded_memory(async_bucket, driver):
    pulled = 0
    go = threading.Event()

    async def source():
        nonlocal pulled
        for _ in range(50):
            pulled += 1
            yield b"x" * 300_000

    put = driver.put

    def slow(key, body, options, timeout):
        next(body)
        assert go.wait(10)
        return put(key, body, options, timeout)

    driver.put = slow
    task = asyncio.create_task(async_bucket.put("object", source()))
    for _ in range(200):
        await asyncio.sleep(0.001)
        assert pulled <= 6
    go.set()
    assert (await task).size == 49 * 300_000
    assert pulled == 50


async def test_more_waiting_streams_than_threads_can_all_be_cancelled(async_bucket, driver):
    async def stuck():
        yield b"x" * 300_000
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(async_bucket.put(f"object-{number}", stuck())) for number in range(6)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    driver.objects["fine"] = b"x"
    assert (await async_bucket.head("fine")).size == 1
    assert list(driver.objects) == ["fine"]


async def test_a_writer_raises_what_the_driver_refused(async_bucket, driver):
    driver.take = 2
    with pytest.raises(StorageError, match="SDK says no"):
        async with async_bucket.writer("object") as writer:
            while True:
                await writer.write(b"x" * 300_000)
    with pytest.raises(RuntimeError, match="not stored"):
        _ = writer.info
    with pytest.raises(RuntimeError, match="not open"):
        await writer.write(b"x")
    assert not driver.objects
