"""The way to the network against servers that mean harm, and with an environment that does."""

from __future__ import annotations

import gzip
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.config.hosts import parse_url
from brokerctl.effects.http import Http
from brokerctl.effects.proxies import find_proxy, is_excepted
from brokerctl.errors import IssuerError, UsageError
from brokerctl.oauth.message import BrokenError, HttpRequest, post_form
from brokerctl.secret import Secret
from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.idp.tls import Tls

    Act = Callable[[socket.socket], object]

OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """A server that does to each connection what a test says, and keeps what it was sent."""

    def __init__(self, act: Act, tls: ssl.SSLContext | None, host: str) -> None:
        self.act = act
        self.tls = tls
        self.heads: list[bytes] = []
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/token"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        try:
            with self.tls.wrap_socket(link, server_side=True) if self.tls else link as talk:
                self.heads.append(_read_request(talk))
                self.act(talk)
        except OSError:
            pass

    def close(self) -> None:
        """Stop listening."""
        self.listener.close()


def _read_request(link: socket.socket) -> bytes:
    """Read head and body: hanging up on what is unread would reset the connection."""
    data = link.recv(65536)
    while data[:1].isalpha() and b"\r\n\r\n" not in data:  # not for the start of TLS
        data += link.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(rest) < int(length[1]):
        more = link.recv(65536)
        data, rest = data + more, rest + more
    return data


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return what starts a server for one test."""
    servers: list[Server] = []

    def start(act: Act, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Server:
        servers.append(Server(act, tls, host))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Return a private CA and a server certificate."""
    return make_tls(str(tmp_path_factory.mktemp("tls")))


def say(data: bytes) -> Act:
    """Return an act that answers and hangs up."""
    return lambda link: link.sendall(data)


def body(data: bytes, *headers: bytes) -> bytes:
    """Return a whole answer."""
    return b"".join([OK, b"content-length: %d\r\n" % len(data), *headers, b"\r\n", data])


def get(url: str, http: Http | None = None, seconds: float = 5.0) -> bytes:
    """Send a POST with a secret and return the body of the answer."""
    request = post_form(url, [("refresh_token", Secret("rt-secret"))])
    return (http or Http()).send(request, time.monotonic() + seconds).body


def test_a_request_arrives_as_it_should(serve: Callable[..., Server]) -> None:
    """Form, Host and close; nothing that was not asked for."""
    server = serve(say(body(b"{}", b"X-A: b\r\n")))
    request = post_form(
        server.url + "?a=b", [("x", Secret("1 2"))], (("authorization", Secret("s")),)
    )
    before = time.time()
    got = Http().send(request)
    assert (got.status, got.body, got.header("x-a")) == (200, b"{}", "b")
    assert before <= got.sent_at <= got.received_at <= time.time()
    head = server.heads[0].decode()
    lines = head.partition("\r\n\r\n")[0].lower().split("\r\n")
    assert lines[0] == "post /token?a=b http/1.1"
    assert f"host: 127.0.0.1:{server.port}" in lines
    assert "authorization: s" in lines
    assert "accept-encoding: identity" in lines
    assert "cookie" not in head.lower()
    assert head.endswith("\r\n\r\nx=1+2")


def test_localhost_is_resolved_by_ourselves(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that lies about localhost is not asked."""

    def lie(*_: object, **__: object) -> None:
        raise AssertionError("the resolver was asked")

    server = serve(say(body(b"{}")))
    monkeypatch.setattr(socket, "getaddrinfo", lie)
    assert get(f"http://localhost:{server.port}/t") == b"{}"
    assert f"host: localhost:{server.port}" in server.heads[0].decode().lower()


def test_localhost_means_ipv6_too() -> None:
    """Where 127.0.0.1 has no listener, [::1] is tried."""
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        listener.listen()
        port = listener.getsockname()[1]

        def answer() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(65536)
                link.sendall(body(b"6"))

        thread = threading.Thread(target=answer)
        thread.start()
        assert get(f"http://localhost:{port}/t") == b"6"
        thread.join()


def test_a_dripping_server_meets_the_deadline(serve: Callable[..., Server]) -> None:
    """One byte at a time never resets the clock: the deadline is for everything."""

    def drip(link: socket.socket) -> None:
        link.sendall(OK + b"content-length: 1000\r\n\r\n")
        while True:
            link.sendall(b"x")
            time.sleep(0.05)

    start = time.monotonic()
    with pytest.raises(IssuerError, match="in time") as caught:
        get(serve(drip).url, seconds=0.5)
    assert 0.4 < time.monotonic() - start < 2
    assert not isinstance(caught.value, BrokenError)


def test_a_silent_server_meets_the_deadline(serve: Callable[..., Server]) -> None:
    """A time-out is no broken connection: it is not tried again."""
    hold = threading.Event()
    server = serve(lambda _: hold.wait(5))
    with pytest.raises(IssuerError, match="in time") as caught:
        get(server.url, seconds=0.3)
    hold.set()
    assert not isinstance(caught.value, BrokenError)


def test_a_silent_resolver_meets_the_deadline() -> None:
    """A look-up can't be interrupted, so nobody waits for it: neither we nor the end of Python."""
    code = (
        "import socket, sys, time\n"
        "from brokerctl.effects.http import Http\n"
        "from brokerctl.errors import IssuerError\n"
        "from brokerctl.oauth.message import HttpRequest\n"
        "socket.getaddrinfo = lambda *a, **k: time.sleep(30)\n"
        "start = time.monotonic()\n"
        "try:\n"
        "    Http().send(HttpRequest(method='GET', url='https://a.example/'), start + 0.3)\n"
        "except IssuerError as error:\n"
        "    print(error.message, time.monotonic() - start < 5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "a.example did not answer in time True\n"
    assert done.stderr == ""


def test_no_time_left_sends_nothing(serve: Callable[..., Server]) -> None:
    """A deadline that has passed is met without a connection."""
    server = serve(say(body(b"{}")))
    with pytest.raises(IssuerError, match="no time"):
        get(server.url, seconds=-1)
    assert server.heads == []


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_a_body_ends_at_one_mebibyte(serve: Callable[..., Server], size: int) -> None:
    """The limit itself is fine, one byte more is not."""
    server = serve(say(body(b"x" * size)))
    if size == 1 << 20:
        assert len(get(server.url)) == size
    else:
        with pytest.raises(IssuerError, match="more than 1 MiB"):
            get(server.url)


def test_an_endless_body_is_cut_off(serve: Callable[..., Server]) -> None:
    """Without a length it is counted as it comes."""

    def pour(link: socket.socket) -> None:
        link.sendall(OK + b"transfer-encoding: chunked\r\n\r\n")
        while True:
            link.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with pytest.raises(IssuerError, match="more than 1 MiB"):
        get(serve(pour).url)


def test_a_gzip_bomb_is_not_unpacked(serve: Callable[..., Server]) -> None:
    """The limit counts what comes out: 64 MiB never stand in memory."""
    bomb = gzip.compress(b"\0" * (64 << 20))
    with pytest.raises(IssuerError, match="more than 1 MiB"):
        get(serve(say(body(bomb, b"content-encoding: gzip\r\n"))).url)


def test_gzip_that_was_not_asked_for_is_read(serve: Callable[..., Server]) -> None:
    """Some servers compress whatever they are asked; other codings are refused."""
    packed = body(gzip.compress(b'{"a":1}'), b"content-encoding: gzip\r\n")
    assert get(serve(say(packed)).url) == b'{"a":1}'
    for coding in (b"br", b"gzip, gzip", b"zstd"):
        with pytest.raises(IssuerError, match="coding"):
            get(serve(say(body(b"", b"content-encoding: %s\r\n" % coding))).url)
    with pytest.raises(IssuerError, match="unpacked"):
        get(serve(say(body(b"nonsense", b"content-encoding: gzip\r\n"))).url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(serve: Callable[..., Server], status: int) -> None:
    """A 307 would carry the refresh token to wherever it says."""
    other = serve(say(body(b"{}")))
    location = f"HTTP/1.1 {status} X\r\nlocation: {other.url}\r\ncontent-length: 0\r\n\r\n"
    first = serve(say(location.encode()))
    got = Http().send(post_form(first.url, [("refresh_token", Secret("rt"))]))
    assert got.status == status
    assert other.heads == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        OK,
        OK + b"content-length: 10\r\n\r\nabc",
        b"nonsense\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
        OK + b"x: " + b"y" * 200_000,
    ],
)
def test_half_an_answer_is_a_broken_connection(serve: Callable[..., Server], data: bytes) -> None:
    """It may be tried once more; the message names the host and nothing of the request."""
    with pytest.raises(BrokenError) as caught:
        get(serve(say(data)).url)
    assert caught.value.message == "the connection to 127.0.0.1 broke"


def test_a_reset_is_a_broken_connection(serve: Callable[..., Server]) -> None:
    """RST after the request."""

    def reset(link: socket.socket) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with pytest.raises(BrokenError):
        get(serve(reset).url)


def test_too_many_headers_are_refused(serve: Callable[..., Server]) -> None:
    """Two hundred are more than any issuer needs."""
    many = b"".join(b"x-%d: y\r\n" % number for number in range(300))
    with pytest.raises(IssuerError, match="headers"):
        get(serve(say(body(b"{}", many))).url)


def test_nobody_listening_is_said_plainly() -> None:
    """No broken connection: trying again at once would not help."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(IssuerError, match="can't be reached") as caught:
        get(f"http://127.0.0.1:{port}/")
    assert not isinstance(caught.value, BrokenError)


@pytest.mark.parametrize(
    "url",
    ["http://a.example/", "https://u:p@a.example/", "ftp://a.example/", "https://a\t.example/", ""],
)
def test_nothing_is_sent_in_the_clear(url: str) -> None:
    """The last check before the wire is here, whoever made the request."""
    with pytest.raises(IssuerError, match="not https"):
        get(url)


def server_context(tls_files: Tls) -> ssl.SSLContext:
    """Return the server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls_files.server_file)
    return context


def test_tls_by_a_private_ca(serve: Callable[..., Server], tls_files: Tls) -> None:
    """The profile's ca_file or SSL_CERT_FILE is trusted; the profile's comes first."""
    server = serve(say(body(b"{}")), server_context(tls_files))
    assert get(server.url, Http(tls_files.ca_file)) == b"{}"
    assert get(server.url, Http(None, {"SSL_CERT_FILE": tls_files.ca_file})) == b"{}"
    assert get(server.url, Http(tls_files.ca_file, {"SSL_CERT_FILE": "/nowhere"})) == b"{}"
    by_name = server.url.replace("127.0.0.1", "localhost")
    assert get(by_name, Http(tls_files.ca_file)) == b"{}"


def test_an_unknown_certificate_is_refused(serve: Callable[..., Server], tls_files: Tls) -> None:
    """Without the CA nothing is sent, and the hint says what to set."""
    server = serve(say(body(b"{}")), server_context(tls_files))
    with pytest.raises(IssuerError, match="certificate") as caught:
        get(server.url)
    assert caught.value.hint is not None
    assert "ca_file" in caught.value.hint
    assert server.heads == []


def test_a_certificate_for_another_name_is_refused(
    serve: Callable[..., Server], tls_files: Tls
) -> None:
    """The CA is trusted, the name is not in the certificate."""
    server = serve(say(body(b"{}")), server_context(tls_files), "127.0.0.2")
    with pytest.raises(IssuerError, match="certificate"):
        get(server.url, Http(tls_files.ca_file))
    assert server.heads == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # the point of the test
def test_old_tls_is_refused(serve: Callable[..., Server], tls_files: Tls) -> None:
    """1.2 is the oldest that is spoken."""
    context = server_context(tls_files)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = serve(say(body(b"{}")), context)
    with pytest.raises(IssuerError, match=r"TLS 1\.2|broke"):
        get(server.url, Http(tls_files.ca_file))
    assert server.heads == []


def test_a_plain_server_behind_https_is_refused(serve: Callable[..., Server]) -> None:
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
    serve: Callable[..., Server], tls_files: Tls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSLKEYLOGFILE in the environment would give the session keys away."""
    path = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    server = serve(say(body(b"{}")), server_context(tls_files))
    assert get(server.url, Http(tls_files.ca_file, os.environ)) == b"{}"
    assert not path.exists()


def test_a_proxy_is_never_used_for_loopback(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is .netrc or anything else of the environment."""
    for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(serve(say(body(b"{}"))).url, Http(None, os.environ)) == b"{}"


def test_a_proxy_sees_connect_and_no_secret(serve: Callable[..., Server], tls_files: Tls) -> None:
    """Https goes through a tunnel; a proxy that says no is named as such."""
    proxy = serve(say(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"))
    environ = {"HTTPS_PROXY": f"http://user:pass@127.0.0.1:{proxy.port}"}
    with pytest.raises(IssuerError, match="proxy") as caught:
        get("https://issuer.example.com/token", Http(tls_files.ca_file, environ))
    assert "pass" not in caught.value.message
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT issuer.example.com:443 ")
    assert b"rt-secret" not in head


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
        ("a.b", 443, ". ,,", False),
    ],
)
def test_no_proxy(host: str, port: int, entry: str, expected: bool) -> None:  # noqa: FBT001 - a column
    """Names with all below them, ports, addresses; nonsense matches nothing."""
    assert is_excepted(host, port, entry) is expected


def test_only_this_file_imports_a_client() -> None:
    """The protocol's room loads neither socket nor HTTP client nor event loop."""
    code = (
        "import sys\n"
        "import brokerctl.oauth.grants.code, brokerctl.oauth.grants.device\n"
        "import brokerctl.oauth.grants.refresh, brokerctl.oauth.grants.client_credentials\n"
        "import brokerctl.oauth.revoke, brokerctl.oauth.introspect, brokerctl.oauth.metadata\n"
        "bad = {'socket', 'ssl', 'http', 'http.client', 'urllib.request', 'asyncio', 'anyio',\n"
        "       'httpx2', 'selectors', 'joserfc', 'authlib', 'cryptography', 'json'}\n"
        "print(sorted(bad & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_a_request_without_a_body_is_a_get(serve: Callable[..., Server]) -> None:
    """Metadata is asked for without anything in hand."""
    server = serve(say(body(b"{}")))
    assert Http().send(HttpRequest(method="GET", url=server.url)).status == 200
    assert server.heads[0].startswith(b"GET /token HTTP/1.1\r\n")
