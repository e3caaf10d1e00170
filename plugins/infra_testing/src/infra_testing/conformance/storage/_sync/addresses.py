# Generated from addresses.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""Signed and public addresses."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.errors import ErrorCode, InfraError, UnsupportedError
from infra.storage import InvalidSignatureError, SignedURL, StorageFeature
from infra_testing.conformance.storage._sync.basis import StorageCases


class AddressCases(StorageCases):
    """Case 25. URLs of the provider's own server are tried over HTTP, those of the host's own through `verify`."""

    def request(
        self, bucket: Any, method: str, url: str, key: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> bytes | None:
        """What a client gets who has the URL; None when it is refused."""
        if bucket.supports(StorageFeature.VERIFIED_URLS):
            try:
                return (bucket.verify(method, url, headers or {}).key.encode() == key.encode() and b"data") or None
            except InvalidSignatureError:
                return None
        request = urllib.request.Request(url, data=data, method=method, headers=headers or {})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return response.read() or b"data"
        except urllib.error.HTTPError as error:
            error.close()
            return None

    def lacking(self, bucket: Any) -> bool:
        """Whether the provider has no signed URLs, and says so."""
        if bucket.supports(StorageFeature.SIGNED_URLS):
            return False
        with pytest.raises(UnsupportedError, match="signed_urls"):
            bucket.sign("object")
        return True

    def test_a_signed_url_allows_what_it_says(self, opened: Any) -> None:
        bucket = opened()
        if self.lacking(bucket):
            return
        for key in ("folder/object", "a b+c&d=e?f#g%41/ü🦄"):
            bucket.put(key, b"data")
            before = datetime.now(UTC)
            signed: SignedURL = bucket.sign(key, expires=timedelta(minutes=5))
            assert signed.method == "GET"
            second = timedelta(seconds=1)  # what providers round to
            assert before - second <= signed.expires_at - timedelta(minutes=5) <= datetime.now(UTC) + second
            assert self.request(bucket, "GET", signed.url, key) == b"data"
            assert signed.url == str(signed)
            assert signed.url not in repr(signed)

    def test_a_signed_url_allows_nothing_else(self, opened: Any) -> None:
        bucket = opened()
        if self.lacking(bucket):
            return
        bucket.put("object", b"data")
        bucket.put("other", b"data")
        url = (bucket.sign("object")).url
        for method in ("PUT", "DELETE", "POST"):
            assert self.request(bucket, method, url, "object", data=b"data") is None
        last = url[-1]
        for tampered in (
            url.replace("object", "other"),
            url[:-1] + ("0" if last != "0" else "1"),
            url.partition("?")[0],
            url.replace("=", "=9", 1),
            url + "0",
        ):
            assert tampered != url
            for key in ("object", "other"):
                assert self.request(bucket, "GET", tampered, key) is None
        assert bucket.get("object") == b"data"

    def test_a_signed_url_expires(self, opened: Any) -> None:
        bucket = opened()
        if self.lacking(bucket):
            return
        bucket.put("object", b"data")
        url = (bucket.sign("object", expires=1)).url
        deadline = time.monotonic() + 90
        while self.request(bucket, "GET", url, "object") is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_a_signed_put_is_bound_to_its_headers(self, opened: Any) -> None:
        bucket = opened()
        if self.lacking(bucket):
            return
        signed = bucket.sign("object", method="PUT", headers={"Content-Type": "image/png"})
        assert {name.lower(): value for name, value in signed.headers.items()} == {"content-type": "image/png"}
        assert self.request(bucket, "PUT", signed.url, "object", b"data", {"content-type": "text/html"}) is None
        assert self.request(bucket, "PUT", signed.url, "object", b"data", {"Content-Type": "image/png"}) is not None
        assert self.request(bucket, "GET", signed.url, "object", headers={"Content-Type": "image/png"}) is None

    def test_a_url_of_one_part_is_none_of_another(self, opened: Any) -> None:
        bucket = opened()
        if self.lacking(bucket):
            return
        one, two = bucket.sub("one"), bucket.sub("two")
        one.put("object", b"data")
        url = (one.sign("object")).url
        assert self.request(one, "GET", url, "object") == b"data"
        if bucket.supports(StorageFeature.VERIFIED_URLS):
            assert bucket.verify("GET", url).key == "one/object"
            with pytest.raises(InvalidSignatureError) as caught:
                two.verify("GET", url)
            assert caught.value.code == ErrorCode.PERMISSION_DENIED

    def test_signing_refuses_nonsense(self, opened: Any) -> None:
        bucket = opened()
        if self.lacking(bucket):
            return
        for wrong in ({"method": "PATCH"}, {"method": "get"}, {"expires": 0}, {"expires": -1}):
            with pytest.raises(InfraError) as caught:
                bucket.sign("object", **wrong)
            assert caught.value.code == ErrorCode.INVALID_ARGUMENT

    def test_only_the_provider_of_verified_urls_verifies(self, opened: Any) -> None:
        bucket = opened()
        if bucket.supports(StorageFeature.VERIFIED_URLS):
            for url in ("", "/", "http://[", "/x?expires=x&signature=ü", "/storage/main/object?method=GET&expires=99999999999&signature="):
                with pytest.raises(InvalidSignatureError):
                    bucket.verify("GET", url)
        else:
            with pytest.raises(UnsupportedError, match="verified_urls"):
                bucket.verify("GET", "/x")

    def test_a_public_url_has_the_base_that_was_set(self, opened: Any) -> None:
        bucket = opened(public_base_url="https://cdn.example.com/media/")
        assert bucket.public_url("a b/ü") == "https://cdn.example.com/media/a%20b/%C3%BC"
        assert bucket.sub("one").public_url("x") == "https://cdn.example.com/media/one/x"
        plain = opened()
        if plain.driver.public_url("x") is None:
            with pytest.raises(UnsupportedError, match="public_base_url"):
                plain.public_url("x")
        else:
            assert plain.public_url("x").startswith("http")
