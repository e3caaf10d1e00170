"""The portable object store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, Literal, cast
from urllib.parse import quote

from infra.errors import UnsupportedError
from infra.runtime.aio import call, gather, within
from infra.runtime.deadline import seconds
from infra.storage._async.hashing import sha256
from infra.storage._async.listing import AsyncListing
from infra.storage._async.reading import AsyncObjectReader
from infra.storage._async.scope import AsyncScope
from infra.storage._async.source import AsyncSource, Data, check_digest
from infra.storage._async.writing import AsyncObjectWriter
from infra.storage.content_type import content_type_of
from infra.storage.download import Download
from infra.storage.driver import URLVerifier
from infra.storage.errors import (
    DeleteError,
    InvalidSignatureError,
    ObjectNotFoundError,
    StorageError,
)
from infra.storage.model import ObjectInfo, Progress, PutOptions, SignedRequest, SignedURL, StorageFeature
from infra.storage.rules import key_problem, lower_cased

_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class AsyncBucket(AsyncScope):
    """Objects under keys.

    Keys are UTF-8 text of at most 1,024 bytes, in segments parted by ``/``; empty segments, ``.`` and ``..``, backslashes and control
    characters are refused. Every failure of the provider is a `StorageError`; exceptions of a caller's own source or callback pass
    unchanged.
    """

    def sub(self, prefix: str) -> AsyncBucket:
        """The part of this bucket below `prefix`, as a bucket: its keys cannot reach out of it. Shares this bucket's connections.

        Raises:
            InvalidKeyError: The prefix breaks the key rules.
        """
        self.check()
        prefix = self.full_key(prefix.removesuffix("/"), "sub")
        part = type(self)(self.driver, self.settings, self.context, owned=False)
        part._prefix = prefix + "/"
        part._parent = self
        part.bridge = self.bridge
        return part

    # -- reading

    async def get(self, key: str, *, if_match: str | None = None) -> bytes:
        """The whole object, checked against its recorded SHA-256.

        Args:
            key: Its key.
            if_match: Only if it has this ETag.

        Raises:
            ObjectNotFoundError: There is none.
            PreconditionFailedError: It has another ETag.
            IntegrityError: It is damaged.
        """
        reader = self.open(key, if_match=if_match)
        try:
            return await reader.read()
        finally:
            await reader.close()

    async def get_range(self, key: str, offset: int = 0, length: int | None = None, *, if_match: str | None = None) -> bytes:
        """`length` bytes from `offset` on, or all from there.

        A negative offset counts from the end. As with slices, a range beyond the end has fewer bytes, or none.
        """
        reader = self.open(key, offset=offset, length=length, if_match=if_match)
        try:
            return await reader.read()
        finally:
            await reader.close()

    async def get_many(self, keys: Iterable[str]) -> dict[str, bytes | None]:
        """Several objects at once, in the order of `keys`; None for those that do not exist."""
        self.check()
        wanted = list(dict.fromkeys(keys))
        results = await gather(*(partial(self.get, key) for key in wanted), limit=self.settings.concurrency)
        found: dict[str, bytes | None] = {}
        for key, result in zip(wanted, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, ObjectNotFoundError):
                raise result
            found[key] = None if isinstance(result, BaseException) else result
        return found

    def open(self, key: str, *, offset: int = 0, length: int | None = None, if_match: str | None = None) -> AsyncObjectReader:
        """A streaming reader; see `AsyncObjectReader`. Nothing happens until it is entered, read or iterated."""
        self.check()
        if length is not None and length < 0:
            raise ValueError(f"length is {length}; it is a number of bytes, or None for all")
        return AsyncObjectReader(self, key, offset, length, if_match)

    async def get_file(self, key: str, path: str | os.PathLike[str], *, progress: Progress | None = None) -> ObjectInfo:
        """Write the object to a file, which appears as a whole or, on any failure, not at all. An existing file is replaced.

        Args:
            key: Its key.
            path: Where to.
            progress: Called after each chunk with the bytes written so far and in all.
        """
        async with self.open(key) as reader:
            target = await call(Download, path, bridge=self.bridge)
            try:
                done = 0
                async for chunk in reader:
                    await call(target.write, chunk, bridge=self.bridge)
                    done += len(chunk)
                    if progress is not None:
                        progress(done, reader.info.size)
                await call(target.commit, bridge=self.bridge)
            finally:
                target.discard()
            return reader.info

    async def head(self, key: str) -> ObjectInfo:
        """The object's information.

        Raises:
            ObjectNotFoundError: There is none.
        """
        self.check()
        full, timeout = self.full_key(key, "head"), self.settings.timeout
        try:
            return self.own(await within(timeout, self.driver.head, full, timeout))
        except Exception as error:
            raise self.error(error, "head", key=key) from error

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            await self.head(key)
        except ObjectNotFoundError:
            return False
        return True

    def list(self, prefix: str = "", *, delimiter: str | None = None, token: str | None = None, page_size: int = 1000) -> AsyncListing:
        """The objects whose keys begin with `prefix`; see `AsyncListing`.

        Args:
            prefix: The beginning of the keys; it need not end at a ``/``.
            delimiter: Rolls up keys that have it after the prefix, into the page's ``prefixes``. Usually ``/``.
            token: Continues after the page that it came with.
            page_size: The most entries of a page.
        """
        self.check()
        if page_size < 1 or delimiter == "":
            raise ValueError("page_size is at least 1, and a delimiter is not empty")
        self.full_prefix(prefix)
        return AsyncListing(self, prefix, delimiter, token, page_size)

    # -- writing

    async def put(
        self,
        key: str,
        data: Data,
        *,
        mode: str = "overwrite",
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        digest: str | None = None,
        size: int | None = None,
        progress: Progress | None = None,
    ) -> ObjectInfo:
        """Store an object. It becomes visible as a whole; on any failure the old one stays as it was.

        Args:
            key: Its key.
            data: Bytes, a path, an open binary file, or an iterable of bytes.
            mode: ``overwrite``; ``create``, which refuses an existing object; or the ETag that the object must have.
            content_type: Else it follows from the key's extension or the first bytes.
            metadata: Names are lower-cased.
            digest: The SHA-256 in hexadecimal that the data must have.
            size: The length that the data must have; spares some providers a round trip for streams.
            progress: Called after each chunk with the bytes taken so far and in all, None when not known.

        Raises:
            ObjectExistsError: ``create``, and there is one.
            PreconditionFailedError: An ETag, and the object has another one or does not exist.
            DigestMismatchError: The data does not have that digest.
            UnsupportedError: The provider cannot check the mode.
            InvalidKeyError: The key breaks the key rules.
            KeyConflictError: The provider cannot hold both ``a`` and ``a/b``.
        """
        full = self.check_put(key, mode, metadata, digest)
        expected = digest.lower() if digest else None
        options = PutOptions(
            content_type=content_type or "",
            metadata=lower_cased(metadata),
            create=mode == "create",
            if_match=mode if mode not in ("create", "overwrite") else None,
        )
        if isinstance(data, bytes) and (size is None or size == len(data)):
            actual = await sha256(data, self.bridge)
            check_digest(expected, actual)
            info = await self._put_bytes(key, full, data, actual, options)
            if progress is not None:
                progress(len(data), len(data))
            return info
        source = AsyncSource(data, block_size=self.settings.chunk_size, size=size, expected=expected, progress=progress, bridge=self.bridge)
        try:
            first, whole = await source.start()
            if whole:
                return await self._put_bytes(key, full, first, cast(str, source.digest()), options)
            kind = options.content_type or content_type_of(key, first)
            return await self._put_stream(key, full, source, replace(options, content_type=kind, size=size, digest=source.digest))
        finally:
            await source.close()

    async def put_file(
        self,
        key: str,
        path: str | os.PathLike[str],
        *,
        mode: str = "overwrite",
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        digest: str | None = None,
        progress: Progress | None = None,
    ) -> ObjectInfo:
        """Store a file; as `put`, with its size known."""
        self.check_put(key, mode, metadata, digest)
        size = (await call(os.stat, path, bridge=self.bridge)).st_size
        return await self.put(
            key, Path(path), mode=mode, content_type=content_type, metadata=metadata, digest=digest, size=size, progress=progress
        )

    def writer(
        self,
        key: str,
        *,
        mode: str = "overwrite",
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        digest: str | None = None,
    ) -> AsyncObjectWriter:
        """A streaming writer, which stores only when its block ends cleanly; see `AsyncObjectWriter` and `put`."""
        self.check()
        return AsyncObjectWriter(self, key, mode, content_type, metadata, digest)

    async def copy(self, source: str, target: str, *, mode: Literal["overwrite", "create"] = "overwrite") -> ObjectInfo:
        """Copy an object with its content type and metadata, within the provider.

        Raises:
            ObjectNotFoundError: There is no `source`.
            ObjectExistsError: ``create``, and there is a `target`.
        """
        self.check()
        if mode not in ("overwrite", "create"):
            raise self.refused("copy", f"mode {mode!r} is not known", "use overwrite or create")
        if mode == "create":
            self.need(StorageFeature.CONDITIONAL_COPY, "read the object and put it with mode=create")
        origin, full, timeout = self.full_key(source, "copy"), self.full_key(target, "copy"), self.settings.timeout
        try:
            return self.own(await self.driver.copy(origin, full, mode == "create", timeout))
        except Exception as error:
            raise self.error(error, "copy", key=source, target=target) from error

    async def move(self, source: str, target: str, *, mode: Literal["overwrite", "create"] = "overwrite") -> ObjectInfo:
        """Copy, then delete the source. If that fails in between, both exist."""
        info = await self.copy(source, target, mode=mode)
        if source != target:
            await self.delete(source)
        return info

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is fine."""
        self.check()
        full, timeout = self.full_key(key, "delete"), self.settings.timeout
        try:
            failures = await within(timeout, self.driver.delete_many, (full,), timeout)
        except Exception as error:
            raise self.error(error, "delete", key=key) from error
        for failure in failures.values():
            raise self.error(failure, "delete", key=key) from failure

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Delete all these objects; those that do not exist are fine.

        Raises:
            DeleteError: Some could not be deleted, with the error of each; all others are deleted.
        """
        self.check()
        failed: dict[str, StorageError] = {}
        full_keys: dict[str, str] = {}
        for key in keys:
            try:
                full_keys[self.full_key(key, "delete_many")] = key
            except StorageError as error:
                failed[key] = error
        todo, batch, timeout = list(full_keys), self.driver.limits.delete_batch, self.settings.timeout
        for start in range(0, len(todo), batch):
            part = todo[start : start + batch]
            try:
                failures = await self.driver.delete_many(part, timeout)
            except Exception as error:
                failures = dict.fromkeys(part, error)
            failed |= {
                full_keys[key]: cast(StorageError, self.error(error, "delete_many", key=full_keys[key])) for key, error in failures.items()
            }
        if failed:
            first = next(iter(failed.items()))
            raise DeleteError(
                f"{len(failed)} of {len(todo) + sum(key not in full_keys.values() for key in failed)} objects were not deleted, "
                f"{first[0]!r} for one: {first[1].message}",
                failed=failed,
                code=first[1].code,
                resource=self.name,
                provider=self.provider,
                operation="delete_many",
                remedy="see `failed` for each key, and delete those again",
            )

    # -- addresses

    async def sign(
        self, key: str, *, method: str = "GET", expires: float | timedelta = 3600.0, headers: Mapping[str, str] | None = None
    ) -> SignedURL:
        """A URL with which anyone may do `method` on the object until it expires.

        Args:
            key: The object's key; it need not exist.
            method: GET, HEAD, PUT or DELETE.
            expires: Seconds, or a timedelta.
            headers: Headers that the request must carry, such as ``content-type`` for a PUT.

        Raises:
            UnsupportedError: The provider has no signed URLs.
        """
        self.check()
        full, duration = self.full_key(key, "sign"), seconds(expires)
        if method not in _METHODS or duration <= 0:
            raise self.refused("sign", f"cannot sign {method!r} for {duration:g} s", "use GET, HEAD, PUT or DELETE, and a time above 0")
        self.need(StorageFeature.SIGNED_URLS, "serve the object through the host, or choose another provider")
        try:
            return await self.driver.sign(method, full, duration, headers or {})
        except Exception as error:
            raise self.error(error, "sign", key=key) from error

    def verify(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> SignedRequest:
        """What a signed URL allows, where the host itself serves them; for the route that does.

        Args:
            method: The request's method.
            url: The request's URL, or its path and query.
            headers: The request's headers.

        Raises:
            InvalidSignatureError: The URL is forged, expired, for something else, or outside this bucket.
        """
        self.check()
        self.need(StorageFeature.VERIFIED_URLS, "the provider's own server serves its signed URLs")
        try:
            request = cast(URLVerifier, self.driver).verify(method, url, headers or {})
        except Exception as error:
            raise self._bad_signature(" ".join(str(error).split()) or "it is not valid") from None
        if not request.key.startswith(self._prefix) or key_problem(request.key[len(self._prefix) :]):
            raise self._bad_signature("the URL is not one of this bucket")
        return replace(request, key=request.key[len(self._prefix) :])

    def public_url(self, key: str) -> str:
        """The address of the object for readers without credentials. Nothing checks that it exists, or that it is public.

        Raises:
            UnsupportedError: There is no such address.
        """
        self.check()
        full = self.full_key(key, "public_url")
        base = self.settings.public_base_url
        url = f"{base.rstrip('/')}/{quote(full)}" if base else self.driver.public_url(full)
        if url is None:
            raise UnsupportedError(
                f"objects of provider {self.provider} have no public address",
                resource=self.name,
                provider=self.provider,
                operation="public_url",
                remedy="set public_base_url to where they are served, or use sign()",
            )
        return url

    async def _put_bytes(self, key: str, full: str, data: bytes, digest: str, options: PutOptions) -> ObjectInfo:
        kind = options.content_type or content_type_of(key, data)
        known = replace(options, content_type=kind, size=len(data), digest=lambda: digest)
        try:
            return self.own(await self.driver.put(full, data, known, self.settings.timeout))
        except Exception as error:
            raise self.error(error, "put", key=key) from error

    async def _put_stream(self, key: str, full: str, source: AsyncSource, options: PutOptions) -> ObjectInfo:
        blocks = source.blocks()
        try:
            return self.own(await self.driver.put(full, blocks, options, self.settings.timeout))
        except Exception as error:
            if source.failure is not None:
                raise source.failure from None
            raise self.error(error, "put", key=key) from error
        finally:
            await blocks.aclose()

    def _bad_signature(self, why: str) -> InvalidSignatureError:
        return InvalidSignatureError(
            f"the signed URL is refused: {why}", resource=self.name, provider=self.provider, operation="verify", remedy="sign a new one"
        )
