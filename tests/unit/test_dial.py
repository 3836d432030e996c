"""Connections that are made for what a session forwards: direct ones, and those through a proxy."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from brokerctl.config.hosts import parse_url
from brokerctl.effects import dial
from brokerctl.effects.dial import Dialer
from brokerctl.errors import IssuerError, UnsentError, UsageError
from tests.gateway_room import WAIT_S, Asking, Upstream
from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from pathlib import Path


def answer(asking: Asking) -> None:
    """Answer a request."""
    asking.body()
    asking.answer(200, b"hello")


def ask(sock: socket.socket) -> bytes:
    """Send one request over a connection and return what comes until its end."""
    with sock:
        sock.settimeout(WAIT_S)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while more := sock.recv(1 << 16):
            data += more
        return data


class Proxy:
    """An HTTP proxy that leads every CONNECT to one server, or answers as it is told."""

    def __init__(self, target: str, status: bytes = b"200 OK", tls_file: str | None = None) -> None:
        self.heads: list[bytes] = []
        self._target, self._status = target, status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._tls_file = tls_file
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        self._listener.close()
        if self._tls_file is not None:
            import ssl  # noqa: PLC0415 - one test's

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls_file)
            sock = context.wrap_socket(sock, server_side=True)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        self.heads.append(head)
        sock.sendall(b"HTTP/1.1 " + self._status + b"\r\n\r\n")
        if not self._status.startswith(b"200"):
            sock.close()
            return
        host, _, port = self._target.rpartition("/")[2].partition(":")
        behind = socket.create_connection((host, int(port)))
        dial._copy_both(behind, sock)  # noqa: SLF001 - the same pump


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_direct_connection(name: str) -> None:
    """Loopback goes past every proxy; `localhost` asks no resolver."""
    upstream = Upstream(answer)
    url = parse_url(upstream.url.replace("127.0.0.1", name))
    dialer = Dialer({"https_proxy": "http://127.0.0.1:1", "all_proxy": "http://127.0.0.1:1"})
    assert ask(dialer.connect(url)).endswith(b"hello")
    upstream.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_leads_there_and_the_certificate_is_the_host_s(scheme: str, tmp_path: Path) -> None:
    """CONNECT with the proxy's own credentials, then TLS with the server itself."""
    tls = make_tls(str(tmp_path))
    upstream = Upstream(answer, tls.server_file)
    proxy = Proxy(upstream.url, tls_file=tls.server_file if scheme == "https" else None)
    # A name that is not loopback, which only the proxy resolves; its certificate is refused.
    named = Dialer({"https_proxy": f"{scheme}://user:p%40ss@localhost:{proxy.port}"})
    with pytest.raises(UnsentError, match=r"certificate of api\.example\.com is not valid"):
        named.connect(parse_url("https://api.example.com:8443"), tls.ca_file)
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT api.example.com:8443 HTTP/1.1\r\n")
    pair = base64.b64encode(b"user:p@ss")
    assert b"Proxy-Authorization: Basic " + pair in head
    upstream.close()


def test_a_proxy_that_refuses_is_said() -> None:
    """Nothing is sent to anybody else."""
    proxy = Proxy("", b"407 Proxy Authentication Required")
    dialer = Dialer({"https_proxy": f"http://127.0.0.1:{proxy.port}"})
    with pytest.raises(IssuerError, match=r"does not lead to api\.example\.com"):
        dialer.connect(parse_url("https://api.example.com"))


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://127.0.0.1:port"])
def test_a_proxy_that_is_none_is_a_usage_error(proxy: str) -> None:
    """It is never passed over in silence."""
    with pytest.raises(UsageError, match="the proxy that is set"):
        Dialer({"https_proxy": proxy}).connect(parse_url("https://api.example.com"))


def test_nobody_listens() -> None:
    """A port that is closed, by its reason."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnsentError, match="can't be reached: connection refused"):
        Dialer({}).connect(parse_url(f"http://localhost:{port}"))


def test_the_certificates_of_a_file_that_is_not_there_are_a_usage_error(tmp_path: Path) -> None:
    """As for an issuer."""
    tls = make_tls(str(tmp_path))
    upstream = Upstream(answer, tls.server_file)
    with pytest.raises(UsageError, match="no certificates"):
        Dialer({}).connect(parse_url(upstream.url), str(tmp_path / "missing.pem"))
    upstream.close()
    upstream = Upstream(answer, tls.server_file)
    by_variable = Dialer({"SSL_CERT_FILE": tls.ca_file})
    assert ask(by_variable.connect(parse_url(upstream.url))).endswith(b"hello")
    upstream.close()


class Echo:
    """A TLS server that sends back what it gets, and begins to once it has a megabyte."""

    def __init__(self, folder: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls = make_tls(str(folder))
        self.ca_file = tls.ca_file
        context.load_cert_chain(tls.server_file)
        self._context, self._listener = context, socket.create_server(("127.0.0.1", 0))
        self.url = parse_url(f"https://127.0.0.1:{self._listener.getsockname()[1]}")
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        self._listener.close()
        with self._context.wrap_socket(sock, server_side=True) as secure:
            while data := secure.recv(1 << 16):
                secure.sendall(data)


def test_one_thread_reads_what_another_writes(tmp_path: Path) -> None:
    """OpenSSL takes one call at a time: neither side waits for the other, and no byte is lost."""
    server = Echo(tmp_path)
    sent = [os.urandom(1 << 20) for _ in range(16)]
    with Dialer({}).connect(server.url, server.ca_file) as sock:

        def write() -> None:
            sock.settimeout(WAIT_S)
            for piece in sent:
                sock.sendall(piece)

        sock.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            sock.recv(1)
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(WAIT_S)
        writer = threading.Thread(target=write)
        writer.start()
        found = bytearray()
        while len(found) < len(sent) << 20:
            found += sock.recv(1 << 16)
        writer.join()
    assert found == b"".join(sent)
