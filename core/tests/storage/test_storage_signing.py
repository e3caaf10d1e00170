import pytest

from infra.storage.signing import SignatureRefusedError, URLSigner

SIGNER = URLSigner(b"secret", "https://api.example.com/files/", "storage.media")


def test_the_method_key_expiry_and_headers_are_bound():
    signed = SIGNER.sign("PUT", "a b/ü", 60, {"Content-Type": "image/png"})
    assert signed.url.startswith("https://api.example.com/files/a%20b/%C3%BC?")
    request = SIGNER.verify("PUT", signed.url, {"content-type": "image/png"})
    assert (request.method, request.key, dict(request.headers)) == ("PUT", "a b/ü", {"content-type": "image/png"})
    path = signed.url.removeprefix("https://api.example.com")
    assert SIGNER.verify("PUT", path, {"CONTENT-TYPE": "image/png"}).key == "a b/ü"
    for method, url, headers in (
        ("GET", path, {"content-type": "image/png"}),
        ("PUT", path, {}),
        ("PUT", path + "&method=PUT", {"content-type": "image/png"}),
        ("PUT", path.replace("h-content-type", "h-content-typ"), {"content-type": "image/png"}),
        ("PUT", path.replace("/files/", "/other/"), {"content-type": "image/png"}),
    ):
        with pytest.raises(SignatureRefusedError):
            SIGNER.verify(method, url, headers)


def test_a_url_for_reading_also_allows_head():
    url = SIGNER.sign("GET", "x", 60, {}).url
    assert SIGNER.verify("HEAD", url, {}).method == "HEAD"


@pytest.mark.parametrize(
    "other",
    [
        URLSigner(b"other", "https://api.example.com/files", "storage.media"),
        URLSigner(b"secret", "https://api.example.com/files", "storage.main"),
    ],
)
def test_another_secret_or_resource_refuses(other):
    with pytest.raises(SignatureRefusedError):
        other.verify("GET", SIGNER.sign("GET", "x", 60, {}).url, {})


def test_an_expired_url_is_refused():
    with pytest.raises(SignatureRefusedError, match="expired"):
        SIGNER.verify("GET", SIGNER.sign("GET", "x", -5, {}).url, {})
