"""Requests, from the package's own as a pattern.

What requests of one path have in common, the address and the package's headers, is made once, by the package. Its way from there to the
socket (options as a model, copied twice, headers and URL composed anew) costs more than the HTTP does, and depends on nothing that differs.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from infra.llm.errors import InvalidRequestError
from infra_openai.sdk import SDK

#: What belongs to a single request, as the headers with its key do.
_OWN = frozenset({"content-length", "x-stainless-read-timeout"})


class Requests:
    """Makes the requests of one client, for threads or for tasks, and its exceptions.

    Args:
        sdk: The openai package.
        client: Its client.
    """

    def __init__(self, sdk: SDK, client: Any) -> None:
        self._sdk = sdk
        self._client = client
        self._patterns: dict[str, tuple[Any, list[tuple[str, str]]]] = {}

    def make(self, path: str, key_headers: dict[str, Any], body: dict[str, Any], timeouts: dict[str, float | None]) -> Any:
        """A request of the HTTP library.

        Args:
            path: Below the base URL.
            key_headers: The headers that carry the key, as the package takes them.
            body: What to send as JSON.
            timeouts: Seconds, by the HTTP library's names.
        """
        pattern = self._patterns.get(path)
        if pattern is None:
            pattern = self._patterns[path] = self._pattern(path, key_headers)
        url, common = pattern
        given = [(name, value) for name, value in key_headers.items() if isinstance(value, str)]
        try:
            data = json.dumps(body, default=_plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}", attempts=0) from None
        return self._sdk.http.Request("POST", url, headers=common + given, content=data, extensions={"timeout": timeouts})

    def unreached(self, request: Any, cause: Exception) -> Exception:
        """The package's exception for a request that got no answer."""
        timed_out = isinstance(cause, self._sdk.http.TimeoutException)
        openai = self._sdk.openai
        return openai.APITimeoutError(request=request) if timed_out else openai.APIConnectionError(request=request)

    def refused(self, response: Any) -> Exception:
        """The package's exception for an answer, read already, of another status than success."""
        return self._client._make_status_error_from_response(response)

    def _pattern(self, path: str, key_headers: dict[str, Any]) -> tuple[Any, list[tuple[str, str]]]:
        options = self._sdk.openai._models.FinalRequestOptions.construct(method="post", url=path, json_data={}, headers=key_headers)
        request = self._client._build_request(options)
        own = _OWN.union(map(str.lower, key_headers))
        return request.url, [(name, value) for name, value in request.headers.multi_items() if name.lower() not in own]


def _plain(value: Any) -> Any:
    """What `provider_options` may hold besides JSON, as the package writes it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_unset=True, by_alias=True)
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
