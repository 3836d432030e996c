"""Whom the way to the network trusts: certificates and proxies, nothing else around it."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import pytest

from brokerctl.config.hosts import parse_url
from brokerctl.effects.http import Http
from brokerctl.effects.proxies import find_proxy, is_excepted
from brokerctl.errors import IssuerError, UsageError
from tests.hostile import body, get, say, serving
from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile import Serve
    from tests.idp.tls import Tls


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what starts a server for one test."""
    with serving() as start:
        yield start


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Return a private CA and a server certificate."""
    return make_tls(str(tmp_path_factory.mktemp("tls")))


def server_context(tls_files: Tls) -> ssl.SSLContext:
    """Return the server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls_files.server_file)
    return context


def test_tls_by_a_private_ca(serve: Serve, tls_files: Tls) -> None:
    """The profile's ca_file or SSL_CERT_FILE is trusted; the profile's comes first."""
    server = serve(say(body(b"{}")), server_context(tls_files))
    assert get(server.url, Http(tls_files.ca_file)) == b"{}"
    assert get(server.url, Http(None, {"SSL_CERT_FILE": tls_files.ca_file})) == b"{}"
    assert get(server.url, Http(tls_files.ca_file, {"SSL_CERT_FILE": "/nowhere"})) == b"{}"
    by_name = server.url.replace("127.0.0.1", "localhost")
    assert get(by_name, Http(tls_files.ca_file)) == b"{}"


def test_an_unknown_certificate_is_refused(serve: Serve, tls_files: Tls) -> None:
    """Without the CA nothing is sent, and the hint says what to set."""
    server = serve(say(body(b"{}")), server_context(tls_files))
    with pytest.raises(IssuerError, match="certificate") as caught:
        get(server.url)
    assert caught.value.hint is not None
    assert "ca_file" in caught.value.hint
    assert server.heads == []


def test_a_certificate_for_another_name_is_refused(serve: Serve, tls_files: Tls) -> None:
    """The CA is trusted, the name is not in the certificate."""
    server = serve(say(body(b"{}")), server_context(tls_files), "127.0.0.2")
    with pytest.raises(IssuerError, match="certificate"):
        get(server.url, Http(tls_files.ca_file))
    assert server.heads == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # the point of the test
def test_old_tls_is_refused(serve: Serve, tls_files: Tls) -> None:
    """1.2 is the oldest that is spoken."""
    context = server_context(tls_files)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = serve(say(body(b"{}")), context)
    with pytest.raises(IssuerError, match=r"TLS 1\.2|broke"):
        get(server.url, Http(tls_files.ca_file))
    assert server.heads == []


def test_a_plain_server_behind_https_is_refused(serve: Serve) -> None:
    """No fall-back to plain text."""
    server = serve(say(body(b"{}")))
    with pytest.raises(IssuerError):
        get(server.url.replace("http:", "https:"))


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_ca_file_that_can_not_be_read_is_the_users_fault(
    tmp_path: Path, content: bytes | None
) -> None:
    """Exit 2, naming the file; never a connection without it."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"ca\.pem"):
        get("https://127.0.0.1:1/", Http(str(path)))


def test_no_key_log_is_written(
    serve: Serve, tls_files: Tls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSLKEYLOGFILE in the environment would give the session keys away."""
    path = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    server = serve(say(body(b"{}")), server_context(tls_files))
    assert get(server.url, Http(tls_files.ca_file, os.environ)) == b"{}"
    assert not path.exists()


def test_a_proxy_is_never_used_for_loopback(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is .netrc or anything else of the environment."""
    for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(serve(say(body(b"{}"))).url, Http(None, os.environ)) == b"{}"


def test_a_proxy_sees_connect_and_no_secret(serve: Serve, tls_files: Tls) -> None:
    """Https goes through a tunnel; a proxy that says no is named as such."""
    proxy = serve(say(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"))
    environ = {"HTTPS_PROXY": f"http://user:pass@127.0.0.1:{proxy.port}"}
    with pytest.raises(IssuerError, match="proxy") as caught:
        get("https://issuer.example.com/token", Http(tls_files.ca_file, environ))
    assert "pass" not in caught.value.message
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT issuer.example.com:443 ")
    assert b"rt-secret" not in head


def test_a_proxy_that_is_down_is_named() -> None:
    """Otherwise people look for the fault at the issuer."""
    with pytest.raises(IssuerError, match=r"issuer\.example\.com \(through the proxy\) can't"):
        get("https://issuer.example.com/", Http(None, {"HTTPS_PROXY": "http://127.0.0.1:1"}))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ({"https_proxy": "p:3128"}, "http://p:3128"),
        ({"ALL_PROXY": "https://p"}, "https://p"),
        ({"HTTP_PROXY": "http://p"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "example.com"}, None),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "a, .example.com"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "ample.com"}, "http://p"),
    ],
)
def test_which_proxy_leads_to_a_host(environ: dict[str, str], expected: str | None) -> None:
    """As curl reads the variables; HTTP_PROXY is for plain http, which only loopback speaks."""
    assert find_proxy(parse_url("https://api.example.com/"), environ) == expected


def test_a_proxy_of_another_kind_is_refused_without_showing_it() -> None:
    """SOCKS is not spoken here, and the variable may hold a password."""
    with pytest.raises(UsageError) as caught:
        find_proxy(parse_url("https://a.example/"), {"ALL_PROXY": "socks5://u:secret@p"})
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("host", "port", "entry", "expected"),
    [
        ("a.b", 443, "a.b:443", True),
        ("a.b", 443, "a.b:8443", False),
        ("a.b", 443, "*.b", True),
        ("a.b", 443, "A.B", True),
        ("[2001:db8::1]", 443, "2001:db8::1", True),
        ("[2001:db8::1]", 443, "[2001:db8::1]", True),
        ("[2001:db8::1]", 443, "2001:DB8:0::1", True),
        ("[2001:db8::1]", 443, "[2001:db8::1]:443", True),
        ("[2001:db8::1]", 443, "[2001:db8::1]:8443", False),
        ("10.20.30.40", 443, "10.0.0.0/8", True),
        ("11.20.30.40", 443, "10.0.0.0/8", False),
        ("10.20.30.40", 443, "a.b,10.1.2.3/8", True),
        ("10.20.30.40", 443, "10.20.30.40/32", True),
        ("10.20.30.40", 443, "10.20.30.40:443", True),
        ("10.20.30.40", 443, "0.0.0.0/0", True),
        ("10.20.30.40", 443, "30.40", False),
        ("10.20.30.40", 443, "10.0.0.0/33", False),
        ("10.20.30.40", 443, "fd07::/16", False),
        ("[fd07::1]", 443, "fd07::/16", True),
        ("[fd07::1]", 443, "[fd07::]/16", True),
        ("[fd08::1]", 443, "fd07::/16", False),
        ("[fd07::1]", 443, "10.0.0.0/8", False),
        ("a.b", 443, "0.0.0.0/0", False),
        ("a.b", 443, "a.b.", True),
        ("a.b", 443, "a.b/8", False),
        ("a.b", 443, ". ,,", False),
    ],
)
def test_no_proxy(host: str, port: int, entry: str, expected: bool) -> None:  # noqa: FBT001 - a column
    """Names with all below them, ports, addresses and their ranges; nonsense matches nothing."""
    assert is_excepted(host, port, entry) is expected
