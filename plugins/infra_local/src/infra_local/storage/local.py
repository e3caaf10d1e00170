"""Objects as files below a root folder, safe against crashes, other processes and symbolic links."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from infra.errors import ErrorCode
from infra.plugin import OpenContext
from infra.storage.driver import Body
from infra.storage.model import BINARY, ObjectInfo, Page, PutOptions, SignedRequest, SignedURL, StorageFeature, StorageLimits
from infra.storage.signing import URLSigner
from infra_local.storage import attributes as sidecar
from infra_local.storage.attributes import Attributes, etag_of, info_of, write_all
from infra_local.storage.failures import Refusal, check_condition, check_match, classify, clipped, missing
from infra_local.storage.listing import page_of, rolled_up
from infra_local.storage.locks import Stripes, Writers
from infra_local.storage.names import RESERVED, TEMPORARY, components
from infra_local.storage.settings import LocalStorageSettings
from infra_local.storage.sweeping import sweep
from infra_local.storage.tree import Entry, Folder, conflict, descend, make, prune, through_link, walk

_FEATURES: Final = frozenset(
    str(feature) for feature in StorageFeature if feature not in (StorageFeature.DURABLE, StorageFeature.OVERLAPPING_KEYS)
)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDLE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_CHUNK: Final = 1 << 20
_ATTEMPTS: Final = 1000


class LocalStorageDriver:
    """Files below `root`.

    An object is written to a temporary file beside its place and linked or renamed there when it is complete: its inode never changes after
    that. Folders are removed with their last object.

    Args:
        root: The root, absolute; made when it does not exist.
        durability: ``full``, ``file`` or ``none``; see the settings.
        secret: Signs URLs; None for one that is kept below the root.
        base_url: Where the host serves the objects.
        audience: The resource's name.
    """

    limits = StorageLimits()

    def __init__(self, root: Path, durability: str, secret: bytes | None, base_url: str, audience: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.features = _FEATURES | {str(StorageFeature.DURABLE)} if durability == "full" else _FEATURES
        self._sync_files = durability != "none"
        self._sync_folders = durability == "full"
        top = Folder(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        own = make(top, (RESERVED,), self._sync_folders)
        self._top: Folder | None = top
        self._stripes = Stripes(own)
        self._writers = Writers(own)
        self._signed = (own, secret, base_url, audience)
        sweep(top, self._writers)

    def classify(self, error: BaseException) -> ErrorCode | None:
        """See `StorageDriver`."""
        return classify(error)

    def unwrap(self) -> Sequence[object]:
        """See `StorageDriver`: the root, as a path."""
        return (self.root,)

    def public_url(self, key: str) -> str | None:  # noqa: ARG002
        """See `StorageDriver`."""
        return None

    def ping(self, timeout: float) -> None:  # noqa: ARG002
        """See `StorageDriver`."""
        if not os.fstat(self._root().fd).st_nlink:
            raise Refusal(ErrorCode.UNAVAILABLE, "the root folder was deleted")

    def close(self, timeout: float) -> None:  # noqa: ARG002
        """See `StorageDriver`. Calls under way in other threads finish; their references keep the folders open."""
        if self._top is not None:
            self._top = None
            self._writers.close()

    def head(self, key: str, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        fd, info = self._find(key)
        os.close(fd)
        return info

    def open(self, key: str, offset: int, length: int | None, if_match: str | None, timeout: float) -> LocalReader:  # noqa: ARG002
        """See `StorageDriver`."""
        fd, info = self._find(key)
        try:
            check_match(if_match, info.etag)
            return LocalReader(fd, info, offset, length)
        except BaseException:
            os.close(fd)
            raise

    def put(self, key: str, body: Body, options: PutOptions, timeout: float) -> ObjectInfo:  # noqa: ARG002
        """See `StorageDriver`."""
        root = self._root()
        *folders, name = components(key)
        with self._writers:
            folder, temporary, fd = self._temporary(root, folders)
            try:
                status = self._write(fd, body)
                attributes = Attributes(options.content_type, options.metadata, options.digest())
                sidecar.store(folder, status, attributes, self._sync_files)
                with self._stripes.of(key):
                    self._place(folder, temporary, name, options)
            except BaseException:
                folder.remove(temporary)
                unplaced = os.fstat(fd)
                if not unplaced.st_nlink:
                    folder.remove(sidecar.name_of(unplaced.st_ino))
                    prune(root, folders)
                raise
            finally:
                os.close(fd)
            if self._sync_folders:
                folder.sync()
        return info_of(key, status, attributes)

    def delete_many(self, keys: Sequence[str], timeout: float) -> Mapping[str, BaseException]:  # noqa: ARG002
        """See `StorageDriver`."""
        root = self._root()
        failures: dict[str, BaseException] = {}
        changed: dict[tuple[str, ...], Folder] = {}
        with self._writers:
            for key in keys:
                *folders, name = components(key)
                try:
                    path = tuple(folders)
                    folder = changed.get(path) or descend(root, path)
                    with self._stripes.of(key):
                        if self._remove(folder, name):
                            changed[path] = folder
                except Exception as error:
                    if classify(error) is not ErrorCode.NOT_FOUND:
                        failures[key] = error
            for path, folder in changed.items():
                if self._sync_folders:
                    folder.sync()
                prune(root, path)
        return failures

    def list_page(self, prefix: str, delimiter: str | None, token: str | None, limit: int, timeout: float) -> Page:  # noqa: ARG002
        """See `StorageDriver`."""
        base = prefix[: prefix.rfind("/") + 1]
        try:
            folder = descend(self._root(), components(base[:-1]) if base else ())
        except (OSError, Refusal) as error:
            if classify(error) in (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.PERMISSION_DENIED, ErrorCode.INVALID_ARGUMENT):
                return Page()
            raise
        if delimiter == "/":
            return page_of(_rolled(walk(folder, base, prefix, token or "", True)), limit)
        after = token or ""
        found = _objects(walk(folder, base, prefix, after, False))
        return page_of(found if delimiter is None else rolled_up(found, prefix, delimiter, token), limit)

    def copy(self, source: str, target: str, create: bool, timeout: float) -> ObjectInfo:
        """See `StorageDriver`."""
        fd, info = self._find(source)
        try:
            options = PutOptions(
                content_type=info.content_type or BINARY, metadata=info.metadata, create=create, size=info.size, digest=lambda: info.sha256
            )
            return self.put(target, iter(lambda: os.read(fd, _COPY_CHUNK), b""), options, timeout)
        finally:
            os.close(fd)

    def sign(self, method: str, key: str, expires: float, headers: Mapping[str, str]) -> SignedURL:
        """See `StorageDriver`."""
        return self._signer.sign(method, key, expires, headers)

    def verify(self, method: str, url: str, headers: Mapping[str, str]) -> SignedRequest:
        """See `URLVerifier`."""
        return self._signer.verify(method, url, headers)

    @cached_property
    def _signer(self) -> URLSigner:
        """Made by the first who signs: an account that never does needs no key."""
        own, secret, base_url, audience = self._signed
        return URLSigner(secret or _kept_secret(own), base_url, audience)

    def _root(self) -> Folder:
        if self._top is None:
            raise Refusal(ErrorCode.UNAVAILABLE, "the driver is closed")
        return self._top

    def _find(self, key: str) -> tuple[int, ObjectInfo]:
        """An open file and what is known about it, which belong together."""
        *folders, name = components(key)
        folder = descend(self._root(), folders)
        for _ in range(_ATTEMPTS):
            try:
                fd = folder.open(name)
            except FileNotFoundError:
                raise missing() from None
            except OSError as error:
                raise (through_link() if _is_other(folder, name) else error) from error
            try:
                status = os.fstat(fd)
                if stat.S_ISDIR(status.st_mode):
                    raise missing()
                if not stat.S_ISREG(status.st_mode):
                    raise through_link()
                attributes = sidecar.load(folder, status)
                if attributes is None and _replaced(folder, name, status):
                    os.close(fd)
                    continue  # its attributes went with it, between our two looks
                return fd, info_of(key, status, attributes or Attributes())
            except BaseException:
                os.close(fd)
                raise
        raise Refusal(ErrorCode.UNAVAILABLE, "the object is replaced again and again by others")

    def _temporary(self, root: Folder, folders: list[str]) -> tuple[Folder, str, int]:
        """A new file in the folder of the object; another process may remove that folder while it is empty: then again."""
        name = TEMPORARY + secrets.token_hex(8)
        try:
            for _ in range(_ATTEMPTS):
                folder = make(root, folders, self._sync_folders)
                try:
                    return folder, name, folder.open(name, _NEW)
                except FileNotFoundError:
                    continue
        except BaseException:
            prune(root, folders)
            raise
        raise Refusal(ErrorCode.UNAVAILABLE, "the folder is removed again and again by others")

    def _write(self, fd: int, body: Body) -> os.stat_result:
        if isinstance(body, bytes):
            write_all(fd, body)
        else:
            for chunk in body:
                write_all(fd, chunk)
        now = time.time_ns()  # the file system's own clock may tick so slowly that two versions have one time
        os.utime(fd, ns=(now, now))
        if self._sync_files:
            os.fsync(fd)
        return os.fstat(fd)

    def _place(self, folder: Folder, temporary: str, name: str, options: PutOptions) -> None:
        """Give the temporary its name, if the condition holds. The caller has the key's lock."""
        old = _hold(folder, name)
        try:
            if old is not None and stat.S_ISDIR(old[1].st_mode):
                _make_way(folder, name)
                os.close(old[0])
                old = None
            elif old is not None and not stat.S_ISREG(old[1].st_mode):
                raise through_link()
            check_condition(options.create, options.if_match, None if old is None else etag_of(old[1]))
            if options.create:
                os.link(temporary, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd, follow_symlinks=False)
                folder.remove(temporary)
            else:
                try:
                    os.replace(temporary, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
                except IsADirectoryError:
                    raise conflict() from None
            if old is not None:
                folder.remove(sidecar.name_of(old[1].st_ino))  # while we hold its inode, nobody else can get the number
        finally:
            if old is not None:
                os.close(old[0])

    def _remove(self, folder: Folder, name: str) -> bool:
        """Remove an object and its attributes; False when there is none. The caller has the key's lock."""
        old = _hold(folder, name)
        if old is None:
            return False
        try:
            if stat.S_ISDIR(old[1].st_mode):
                return False
            if not stat.S_ISREG(old[1].st_mode):
                raise through_link()
            folder.remove(name)
            folder.remove(sidecar.name_of(old[1].st_ino))
            return True
        finally:
            os.close(old[0])


class LocalReader:
    """Reads an open file: one inode, whatever happens to its name."""

    def __init__(self, fd: int, info: ObjectInfo, offset: int, length: int | None) -> None:
        self.info = info
        start, self._left = clipped(info.size, offset, length)
        if start:
            os.lseek(fd, start, os.SEEK_SET)
        self._file = os.fdopen(fd, "rb", buffering=0)

    def read(self, size: int, timeout: float) -> bytes:  # noqa: ARG002
        """See `Reader`."""
        if not self._left:
            return b""
        data = os.read(self._file.fileno(), min(size, self._left))
        if not data:
            raise Refusal(ErrorCode.DATA_LOSS, f"the file ends {self._left} bytes early")
        self._left -= len(data)
        return data

    def close(self) -> None:
        """See `Reader`."""
        self._file.close()


def _hold(folder: Folder, name: str) -> tuple[int, os.stat_result] | None:
    """A descriptor that keeps the inode at `name` from being used again, and its status; None when there is nothing."""
    try:
        fd = folder.open(name, _HANDLE)
    except FileNotFoundError:
        return None
    return fd, os.fstat(fd)


def _make_way(folder: Folder, name: str) -> None:
    """Remove the empty folder that stands where an object should."""
    try:
        os.rmdir(name, dir_fd=folder.fd)
    except OSError:
        raise conflict() from None


def _replaced(folder: Folder, name: str, status: os.stat_result) -> bool:
    try:
        return etag_of(os.stat(name, dir_fd=folder.fd, follow_symlinks=False)) != etag_of(status)
    except FileNotFoundError:
        return True


def _is_other(folder: Folder, name: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _rolled(entries: Iterator[Entry]) -> Iterator[ObjectInfo | str]:
    for entry in entries:
        if entry.key.endswith("/"):
            yield entry.key
        else:
            yield from _objects(iter((entry,)))


def _objects(entries: Iterator[Entry]) -> Iterator[ObjectInfo]:
    for entry in entries:
        try:
            yield info_of(entry.key, entry.status(), Attributes())
        except FileNotFoundError:
            continue  # deleted meanwhile


def _kept_secret(own: Folder) -> bytes:
    """The key that signs URLs, the same for every process: made by the first."""
    name = "signing-key"
    try:
        fd = own.open(name)
    except FileNotFoundError:
        new = f"new-{secrets.token_hex(8)}"
        fd = os.open(new, _NEW, 0o600, dir_fd=own.fd)
        try:
            if os.fstat(own.fd).st_mode & stat.S_IWGRP:  # whoever may write the objects may sign for them
                os.fchmod(fd, 0o640)
            write_all(fd, secrets.token_bytes(32))
            os.fsync(fd)
            os.link(new, name, src_dir_fd=own.fd, dst_dir_fd=own.fd)
        except FileExistsError:
            pass  # another process was faster
        finally:
            os.close(fd)
            own.remove(new)
        fd = own.open(name)
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)


def open_driver(settings: LocalStorageSettings, context: OpenContext) -> LocalStorageDriver:
    """The blocking driver."""
    root = settings.root or context.data_dir / "storage" / context.name
    secret = settings.signing_key.reveal().encode() if settings.signing_key else None
    return LocalStorageDriver(
        root.absolute(), settings.durability, secret, settings.base_url or f"/storage/{context.name}", context.resource
    )
