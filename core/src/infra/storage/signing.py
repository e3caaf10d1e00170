"""Signed URLs of the host's own, for providers without a server that signs."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from infra.storage.model import SignedRequest, SignedURL

_VERSION: Final = "infra1"


class SignatureRefusedError(Exception):
    """The URL is not one that this signer made, or it allows something else, or it has expired."""


class URLSigner:
    """Signs and verifies URLs with HMAC-SHA256 over method, audience, key, expiry and bound headers.

    Args:
        secret: The key; whoever has it can sign.
        base_url: Where the host serves the objects: ``https://api.example.com/files`` or ``/files``.
        audience: Keeps the URLs of two resources with one secret apart: the resource's name.
    """

    def __init__(self, secret: bytes, base_url: str, audience: str) -> None:
        self._secret = secret
        self._base = base_url.rstrip("/")
        self._base_path = unquote(urlsplit(self._base).path)
        self._audience = audience

    def sign(self, method: str, key: str, expires: float, headers: Mapping[str, str]) -> SignedURL:
        """A URL that allows `method` on `key` for `expires` seconds, with exactly these headers."""
        until = math.ceil(time.time() + expires)
        bound = {name.lower(): value for name, value in headers.items()}
        query = {"method": method, "expires": str(until)} | {f"h-{name}": value for name, value in bound.items()}
        query["signature"] = self._signature(method, key, until, bound)
        url = f"{self._base}/{quote(key, safe='/')}?{urlencode(query)}"
        return SignedURL(url, method, datetime.fromtimestamp(until, UTC), MappingProxyType(bound))

    def verify(self, method: str, url: str, headers: Mapping[str, str]) -> SignedRequest:
        """What `url` allows, for a request with `method` and `headers`.

        Raises:
            SignatureRefusedError: It does not allow this request.
        """
        parts = urlsplit(url)
        path, query = unquote(parts.path), parse_qsl(parts.query, keep_blank_values=True)
        fields = dict(query)
        if len(fields) != len(query) or not path.startswith(self._base_path + "/"):
            raise SignatureRefusedError("the URL is not one of this resource")
        key = path[len(self._base_path) + 1 :]
        bound = {name.removeprefix("h-"): value for name, value in fields.items() if name.startswith("h-")}
        text = fields.get("expires", "")
        until = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
        signature = self._signature(fields.get("method", ""), key, until, bound)
        if not hmac.compare_digest(signature.encode(), fields.get("signature", "").encode()):
            raise SignatureRefusedError("the signature is not right")
        if time.time() >= until:
            raise SignatureRefusedError("the URL has expired")
        allowed = fields["method"]
        if method != allowed and not (method == "HEAD" and allowed == "GET"):
            raise SignatureRefusedError(f"the URL allows {allowed} only")
        given = {name.lower(): value for name, value in headers.items()}
        for name, value in bound.items():
            if given.get(name) != value:
                raise SignatureRefusedError(f"the URL asks for another {name}")
        return SignedRequest(method, key, datetime.fromtimestamp(until, UTC), MappingProxyType(bound))

    def _signature(self, method: str, key: str, until: int, headers: Mapping[str, str]) -> str:
        # Lengths before the parts: no two requests have the same text.
        parts = [_VERSION, self._audience, method, key, str(until), *(part for item in sorted(headers.items()) for part in item)]
        message = b"".join(b"%d:%b" % (len(data), data) for data in (part.encode(errors="surrogatepass") for part in parts))
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
