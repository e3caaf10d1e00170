"""Keys: odd ones work everywhere, illegal ones nowhere, and a part of a bucket is a bucket."""

from __future__ import annotations

from typing import Any

import pytest

from infra.errors import ClosedError, ErrorCode
from infra.storage import InvalidKeyError, KeyConflictError, ObjectNotFoundError, StorageFeature
from infra_testing.conformance.storage._async.basis import AsyncStorageCases

ODD_KEYS = (
    "a b",
    " leading and trailing ",
    "ends with a dot.",
    "...",
    ".hidden",
    "..double",
    "a..b",
    "~",
    "-rf",
    "%2e%2e%2f",
    "%41",
    "a+b",
    "a?b#c",
    "a&b=c",
    "quote'\"`",
    "star*[x]{y}",
    "<tag>",
    "a:b|c",
    "CON",
    "NUL.txt",
    "UPPER",
    "upper",
    "Ünïcödé",
    "u\u0308",
    "ü",
    "日本語/キー",
    "🦄/🏇🏽",
    "\u200bzero\u200dwidth",
    "\u202eright to left",
    ".infra",
    ".infra-folder/locks",
    ".infra-tmp-0",
    ".infra-attr-1",
    ".infra=x",
    ".infra+x/y",
    "@tilde$dollar!",
    "x" * 255,
    "x" * 256,
    "y" * 1024,
    "é" * 512,
    "z/" * 100 + "deep",
    "z/" * 500 + "deep",
    ".infra" * 100,
    "0",
    "None",
    "index.html",
    "a,b;c",
)
ILLEGAL_KEYS = (
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "//",
    ".",
    "..",
    "./a",
    "../a",
    "a/.",
    "a/..",
    "a/./b",
    "a/../b",
    "a/../../b",
    "a\\b",
    "..\\a",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\tb",
    "\x1b[31m",
    "a\x7f",
    "a\x85b",
    "\udcff",
    "x" * 1025,
    "é" * 513,
)


class AsyncKeyCases(AsyncStorageCases):
    """Cases 20 to 22 and 24."""

    async def test_odd_keys_are_keys_like_any_other(self, opened: Any) -> None:
        """Case 20."""
        bucket = await opened()
        for number, key in enumerate(ODD_KEYS):
            await bucket.put(key, b"%d" % number, metadata={"number": str(number)})
        for number, key in enumerate(ODD_KEYS):
            assert await bucket.get(key) == b"%d" % number
            info = await bucket.head(key)
            assert (info.key, info.metadata["number"], info.foreign) == (key, str(number), False)
        listed = [info.key async for info in bucket.list()]
        assert listed == sorted(ODD_KEYS)
        for size in (1, 7):
            assert [info.key async for info in bucket.list(page_size=size)] == listed
        for prefix in ("x", "z/", "z/z/", ".infra", ".infra" * 50, "u", "é" * 200, "y" * 1000):
            assert [info.key async for info in bucket.list(prefix)] == [key for key in listed if key.startswith(prefix)]
        await bucket.copy("y" * 1024, "copied")
        for key in ODD_KEYS:
            await bucket.delete(key)
            assert not await bucket.exists(key)
        assert [info.key async for info in bucket.list()] == ["copied"]

    @pytest.mark.parametrize("key", [None, 5, b"key", ["key"], "", "\ud800", "a\x00b", "k" * 1025], ids=lambda key: repr(key)[:12])
    async def test_what_is_no_key_is_refused_by_every_operation(self, opened: Any, key: Any) -> None:
        bucket = await opened()
        for part in (bucket, bucket.sub("part")):
            for operation in (part.get, part.head, part.exists, part.delete):
                with pytest.raises(InvalidKeyError) as caught:
                    await operation(key)
                assert caught.value.remedy
            with pytest.raises(InvalidKeyError):
                await part.put(key, b"")

    @pytest.mark.parametrize("key", ILLEGAL_KEYS, ids=ascii)
    async def test_an_illegal_key_is_refused_everywhere(self, opened: Any, key: str) -> None:
        """Case 21."""
        bucket = await opened()
        await bucket.put("fine", b"x")
        calls = [
            lambda: bucket.get(key),
            lambda: bucket.head(key),
            lambda: bucket.exists(key),
            lambda: bucket.put(key, b"x"),
            lambda: bucket.delete(key),
            lambda: bucket.copy("fine", key),
            lambda: bucket.copy(key, "other"),
            lambda: bucket.move(key, "other"),
            lambda: bucket.sign(key),
        ]
        for call in calls:
            with pytest.raises(InvalidKeyError) as caught:
                await call()
            assert caught.value.code == ErrorCode.INVALID_ARGUMENT
            assert caught.value.remedy
            str(caught.value).encode()
        with pytest.raises(InvalidKeyError):
            async with bucket.writer(key):
                pass
        for blocking in (bucket.sub, bucket.public_url):
            if key != "a/":
                with pytest.raises(InvalidKeyError):
                    blocking(key)
        assert [info.key async for info in bucket.list()] == ["fine"]

    async def test_a_key_beside_the_same_key_as_a_folder(self, opened: Any) -> None:
        """Case 22: it works, or it is refused and nothing changes."""
        bucket = await opened()
        overlapping = bucket.supports(StorageFeature.OVERLAPPING_KEYS)
        await bucket.put("a", b"a")
        await bucket.put("b/c/d", b"bcd")
        for key in ("a/b", "a/b/c", "b", "b/c"):
            if overlapping:
                await bucket.put(key, key.encode())
                assert await bucket.get(key) == key.encode()
                continue
            for mode in ("overwrite", "create"):
                with pytest.raises(KeyConflictError) as caught:
                    await bucket.put(key, key.encode(), mode=mode)
                assert (caught.value.code, caught.value.retryable) == (ErrorCode.CONFLICT, False)
            with pytest.raises(KeyConflictError):
                await bucket.copy("a", key)
            with pytest.raises(ObjectNotFoundError):
                await bucket.get(key)
            assert not await bucket.exists(key)
            await bucket.delete(key)
        assert await bucket.get("a") == b"a"
        assert await bucket.get("b/c/d") == b"bcd"
        assert len([info async for info in bucket.list()]) == (6 if overlapping else 2)
        await bucket.delete_many(["a", "a/b", "a/b/c", "b", "b/c", "b/c/d"])
        await bucket.put("a/b", b"a folder now")
        await bucket.put("b", b"an object now")
        assert [info.key async for info in bucket.list()] == ["a/b", "b"]

    async def test_a_part_of_a_bucket_cannot_be_left(self, opened: Any) -> None:
        """Case 24."""
        bucket = await opened()
        await bucket.put("outside", b"outside")
        await bucket.put("tenant-2/secret", b"secret")
        part = bucket.sub("tenant")
        await part.put("object", b"inside", metadata={"a": "b"})
        for key in ("../outside", "/outside", "..", "x/../../outside", "", "./object", "../tenant-2/secret"):
            with pytest.raises(InvalidKeyError):
                await part.get(key)
            with pytest.raises(InvalidKeyError):
                await part.put(key, b"x")
        for key in ("outside", "-2/secret"):
            assert not await part.exists(key)
        assert [info.key async for info in part.list()] == ["object"]
        assert [info.key async for info in part.list("-2")] == []
        for prefix in ("../", "/", "a/../"):
            with pytest.raises(InvalidKeyError):
                part.list(prefix)
        assert await bucket.get("tenant/object") == b"inside"
        assert [info.key async for info in bucket.list()] == ["outside", "tenant-2/secret", "tenant/object"]

    async def test_a_part_of_a_bucket_is_a_bucket(self, opened: Any) -> None:
        """Case 24."""
        bucket = await opened()
        part = bucket.sub("one/").sub("two")
        info = await part.put("folder/object", b"data")
        assert info.key == "folder/object"
        assert await part.head("folder/object") == info
        assert (await part.copy("folder/object", "copy")).key == "copy"
        assert await part.get_many(["copy", "none"]) == {"copy": b"data", "none": None}
        async with part.writer("written") as writer:
            await writer.write(b"data")
        assert writer.info.key == "written"
        pages = [page async for page in part.list(delimiter="/", page_size=2).pages()]
        assert [[info.key for info in page.objects] + list(page.prefixes) for page in pages] == [["copy", "folder/"], ["written"]]
        await part.delete("copy")
        with pytest.raises(InvalidKeyError):
            await part.put("x" * 1020, b"too long with its prefix")
        assert [info.key async for info in bucket.list()] == ["one/two/folder/object", "one/two/written"]
        await part.close()
        with pytest.raises(ClosedError):
            await part.get("written")
        other = bucket.sub("one/two")
        assert await other.get("written") == b"data"
        await bucket.close()
        with pytest.raises(ClosedError):
            await other.get("written")

    async def test_a_resource_may_be_a_part_of_a_bucket(self, opened: Any) -> None:
        """Case 24."""
        whole, part = await opened(), await opened(prefix="media")
        await part.put("object", b"data")
        assert await whole.get("media/object") == b"data"
        assert [info.key async for info in part.list()] == ["object"]
        with pytest.raises(InvalidKeyError):
            await opened(prefix="../media")
