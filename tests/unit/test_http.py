"""The way to the network against servers that mean harm."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.config.hosts import METADATA_URL
from brokerctl.effects.http import Http
from brokerctl.errors import IssuerError, UnsentError
from brokerctl.oauth.message import BrokenError, CutError, HttpRequest, post_form
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from tests.hostile import OK, body, get, say, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile import Serve


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what starts a server for one test."""
    with serving() as start:
        yield start


def test_a_request_arrives_as_it_should(serve: Serve) -> None:
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


def test_an_answer_is_not_lost_where_no_thread_is_left(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop can't end as it wants to, and what the issuer rotated is here all the same."""

    def fail(*_: object) -> None:  # since 3.12 it is given a timeout
        raise RuntimeError("can't start new thread")

    server = serve(say(body(b"{}")))
    monkeypatch.setattr("asyncio.BaseEventLoop.shutdown_default_executor", fail)
    assert get(server.url) == b"{}"


def test_no_thread_or_descriptor_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent: named, and no bug."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("socket.socketpair", fail)
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    with pytest.raises(IssuerError, match=r"127\.0\.0\.1 can't be asked: .*too many open files"):
        get("http://127.0.0.1:1")


def test_localhost_is_resolved_by_ourselves(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_dripping_server_meets_the_deadline(serve: Serve) -> None:
    """One byte at a time never resets the clock: the deadline is for everything."""

    def drip(link: socket.socket) -> None:
        link.sendall(OK + b"content-length: 1000\r\n\r\n")
        while True:
            link.sendall(b"x")
            time.sleep(0.05)

    start = work_time()
    with pytest.raises(IssuerError, match="in time") as caught:
        get(serve(drip).url, seconds=0.5)
    assert 0.4 < work_time() - start < 2
    assert not isinstance(caught.value, BrokenError)


def test_a_silent_server_meets_the_deadline(serve: Serve) -> None:
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
        "from brokerctl.platform.work_clock import work_time\n"
        "from brokerctl.effects.http import Http\n"
        "from brokerctl.errors import IssuerError\n"
        "from brokerctl.oauth.message import HttpRequest\n"
        "socket.getaddrinfo = lambda *a, **k: time.sleep(30)\n"
        "start = time.monotonic()\n"
        "try:\n"
        "    Http().send(HttpRequest(method='GET', url='https://a.example/'), work_time() + 0.3)\n"
        "except IssuerError as error:\n"
        "    print(error.message, time.monotonic() - start < 5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "a.example did not answer in time True\n"
    assert done.stderr == ""


def test_a_time_that_was_not_ours_makes_no_answer_late(serve: Serve) -> None:
    """Time-outs go by the deadline's clock: a process without a processor misses no answer."""

    def clock() -> float:
        return time.monotonic() / 10_000  # as if we had got a processor that seldom

    def answer_late(link: socket.socket) -> None:
        time.sleep(0.3)
        link.sendall(body(b"{}"))

    request = HttpRequest(method="GET", url=serve(answer_late).url)
    assert Http(clock=clock).send(request, clock() + 0.01).body == b"{}"


def test_no_time_left_sends_nothing(serve: Serve) -> None:
    """A deadline that has passed is met without a connection."""
    server = serve(say(body(b"{}")))
    with pytest.raises(IssuerError, match="no time"):
        get(server.url, seconds=-1)
    assert server.heads == []


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_a_body_ends_at_one_mebibyte(serve: Serve, size: int) -> None:
    """The limit itself is fine, one byte more is not."""
    server = serve(say(body(b"x" * size)))
    if size == 1 << 20:
        assert len(get(server.url)) == size
    else:
        with pytest.raises(IssuerError, match="more than 1 MiB"):
            get(server.url)


TOKENS = b'{"access_token":"at-1","refresh_token":"rt-1"}'
LATER = b"content-length: 999\r\n\r\n" + TOKENS


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (OK + LATER, BrokenError),
        (OK + b"transfer-encoding: chunked\r\n\r\n2e\r\n" + TOKENS + b"\r\n", BrokenError),
        (OK + b"x: y\r\n" * 300 + b"\r\n" + TOKENS, CutError),
        (OK + b"content-encoding: utf-8\r\n\r\n" + TOKENS, CutError),
        (OK + b"\r\n" + TOKENS + b" " * (1 << 20), CutError),
    ],
    ids=["closed too soon", "no last chunk", "headers", "coding", "too large"],
)
def test_what_came_of_an_answer_is_not_lost(serve: Serve, data: bytes, kind: type) -> None:
    """It may hold a refresh token that has replaced ours."""
    with pytest.raises(kind) as caught:
        get(serve(say(data)).url)
    assert isinstance(caught.value, CutError)
    assert caught.value.part is not None
    assert caught.value.part.body.startswith(TOKENS)
    assert len(caught.value.part.headers) <= 200
    assert len(caught.value.part.body) <= (1 << 20) + 1


def test_what_came_before_the_deadline_is_not_lost(serve: Serve) -> None:
    """A server that promises more than it sends may keep the connection open."""

    def hang(link: socket.socket) -> None:
        link.sendall(OK + LATER)
        link.recv(1)

    with pytest.raises(CutError, match="in time") as caught:
        get(serve(hang).url, seconds=1)
    assert not isinstance(caught.value, BrokenError)
    assert caught.value.part is not None
    assert caught.value.part.body == TOKENS


def test_an_endless_body_is_cut_off(serve: Serve) -> None:
    """Without a length it is counted as it comes."""

    def pour(link: socket.socket) -> None:
        link.sendall(OK + b"transfer-encoding: chunked\r\n\r\n")
        while True:
            link.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with pytest.raises(IssuerError, match="more than 1 MiB"):
        get(serve(pour).url)


def test_a_gzip_bomb_is_not_unpacked(serve: Serve) -> None:
    """The limit counts what comes out: 64 MiB never stand in memory."""
    bomb = gzip.compress(b"\0" * (64 << 20))
    with pytest.raises(IssuerError, match="more than 1 MiB"):
        get(serve(say(body(bomb, b"content-encoding: gzip\r\n"))).url)


def test_gzip_that_was_not_asked_for_is_read(serve: Serve) -> None:
    """Some servers compress whatever they are asked; other codings are refused."""
    packed = body(gzip.compress(b'{"a":1}'), b"content-encoding: gzip\r\n")
    assert get(serve(say(packed)).url) == b'{"a":1}'
    for coding in (b"br", b"gzip, gzip", b"zstd"):
        with pytest.raises(IssuerError, match="coding"):
            get(serve(say(body(b"", b"content-encoding: %s\r\n" % coding))).url)
    with pytest.raises(IssuerError, match="unpacked"):
        get(serve(say(body(b"nonsense", b"content-encoding: gzip\r\n"))).url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(serve: Serve, status: int) -> None:
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
def test_half_an_answer_is_a_broken_connection(serve: Serve, data: bytes) -> None:
    """It may be tried once more; the message names the host and nothing of the request."""
    with pytest.raises(BrokenError) as caught:
        get(serve(say(data)).url)
    assert caught.value.message == "the connection to 127.0.0.1 broke"


def test_a_reset_is_a_broken_connection(serve: Serve) -> None:
    """RST after the request."""

    def reset(link: socket.socket) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with pytest.raises(BrokenError):
        get(serve(reset).url)


def test_too_many_headers_are_refused(serve: Serve) -> None:
    """Two hundred are more than any issuer needs."""
    many = b"".join(b"x-%d: y\r\n" % number for number in range(300))
    with pytest.raises(IssuerError, match="headers"):
        get(serve(say(body(b"{}", many))).url)


def test_nobody_listening_is_said_plainly() -> None:
    """No broken connection: trying again at once would not help."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnsentError) as caught:
        get(f"http://127.0.0.1:{port}/")
    assert caught.value.message == f"127.0.0.1:{port} can't be reached: connection refused"


@pytest.mark.parametrize(
    "more",
    [
        {"url": METADATA_URL.removesuffix("identity") + "token"},
        {"url": f"{METADATA_URL}/"},
        {"url": METADATA_URL.replace("://", "://u@")},
        {"url": METADATA_URL.replace(".254/", ".254:80/")},
        {"url": METADATA_URL.replace("169", "168")},
        {"body": Secret("a")},
        {"secrets": (Secret("a"),)},
        {"headers": (("authorization", Secret("Bearer a")),)},
    ],
)
def test_google_s_metadata_server_gets_one_question(more: dict[str, Any]) -> None:
    """Security: the exception to https is for that address, and for nothing that is secret."""
    request = HttpRequest(method="GET", url=METADATA_URL).replace(**more)
    with pytest.raises(IssuerError, match="not https"):
        Http(timeout_s=5.0).send(request)


@pytest.mark.parametrize(
    "url",
    ["http://a.example/", "https://u:p@a.example/", "ftp://a.example/", "https://a\t.example/", ""],
)
def test_nothing_is_sent_in_the_clear(url: str) -> None:
    """The last check before the wire is here, whoever made the request."""
    with pytest.raises(IssuerError, match="not https"):
        get(url)


def test_only_this_file_imports_a_client() -> None:
    """The protocol's room loads neither socket nor HTTP client nor event loop."""
    code = (
        "import sys\n"
        "import brokerctl.oauth.flows.code, brokerctl.oauth.flows.device\n"
        "import brokerctl.oauth.flows.refresh, brokerctl.oauth.flows.client_credentials\n"
        "import brokerctl.oauth.revocation, brokerctl.oauth.revocation, brokerctl.oauth.metadata\n"
        "bad = {'socket', 'ssl', 'http', 'http.client', 'urllib.request', 'asyncio', 'anyio',\n"
        "       'httpx2', 'selectors', 'joserfc', 'authlib', 'cryptography', 'json'}\n"
        "print(sorted(bad & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_a_request_without_a_body_is_a_get(serve: Serve) -> None:
    """Metadata is asked for without anything in hand."""
    server = serve(say(body(b"{}")))
    assert Http().send(HttpRequest(method="GET", url=server.url)).status == 200
    assert server.heads[0].startswith(b"GET /token HTTP/1.1\r\n")
