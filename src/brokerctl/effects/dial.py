"""Opens connections for what a session forwards: TCP, through a proxy if one is set, then TLS.

`effects/http` asks issuers and bounds what they answer. Here only the connection is made: what
goes over it are the bytes of others, for as long as they come.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import h11

from brokerctl.config.hosts import is_loopback
from brokerctl.effects.http import CONNECT_S, make_context
from brokerctl.effects.proxies import find_proxy
from brokerctl.errors import IssuerError, UnsentError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    Found = TypeVar("Found")

    from brokerctl.config.hosts import Url

_READ_BYTES = 1 << 16
_PROXY_PORTS = {"http": 80, "https": 443}
_OK = 200


class TlsSocket(ssl.SSLSocket):
    """A TLS connection that one thread reads while another writes.

    OpenSSL takes one call at a time for a connection. So each is made when it need not wait, and
    the waiting is done outside of it, with a time-out for each thread.
    """

    def share(self) -> None:
        """Let threads share it, from after the handshake on."""
        super().settimeout(0)
        self._spans = threading.local()
        self._turn = threading.Lock()

    def settimeout(self, value: float | None) -> None:
        """Set the time-out of this thread's calls; 0: they raise where they would have to wait."""
        if hasattr(self, "_turn"):
            self._spans.value = value
        else:
            super().settimeout(value)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what has arrived, b"" at the end; TimeoutError."""
        receive = super().recv
        return self._in_turn(lambda: receive(buflen, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:  # noqa: ANN401 - any buffer
        """Send all of it; the time-out is for each piece that is taken."""
        send, left = super().send, memoryview(data).cast("B")
        while left:
            left = left[self._in_turn(lambda: send(left, flags)) :]  # noqa: B023 - called at once

    def _in_turn(self, call: Callable[[], Found]) -> Found:
        if not hasattr(self, "_turn"):
            return call()
        span_s = getattr(self._spans, "value", None)
        end = None if span_s is None else time.monotonic() + span_s
        while True:
            try:
                with self._turn:
                    return call()
            except ssl.SSLWantReadError:
                event = select.POLLIN
                if span_s == 0:
                    raise
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
                if span_s == 0:
                    raise
            self._wait(event, end)

    def _wait(self, event: int, end: float | None) -> None:
        poll = select.poll()
        poll.register(self.fileno(), event)
        left_s = None if end is None else max(0.0, end - time.monotonic())
        if not poll.poll(None if left_s is None else left_s * 1000):
            raise TimeoutError("the other side of a TLS connection says nothing")


class Dialer:
    """Connects to the hosts of profiles, as `effects/http` would."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def connect(self, url: Url, ca_file: str | None = None) -> socket.socket:
        """Return a connection to the URL's host, its certificate checked; UnsentError if not.

        `ca_file` replaces the system's certificates. Time-outs cover the making alone.
        """
        is_near = is_loopback(url.host) or url.scheme == "http"
        proxy = None if is_near else find_proxy(url, self._environ)
        if url.scheme == "https":
            self._context(ca_file)  # a file that can't be read is said before anything is opened
        sock = _connect(url.host, url.port) if proxy is None else self._tunnel(proxy, url, ca_file)
        if url.scheme == "http":
            return sock
        return self._secure(sock, url.host, ca_file)

    def _secure(self, sock: socket.socket, host: str, ca_file: str | None) -> socket.socket:
        try:
            sock.settimeout(CONNECT_S)
            secure = self._context(ca_file).wrap_socket(sock, server_hostname=host.strip("[]"))
        except ssl.SSLCertVerificationError as error:
            sock.close()
            raise UnsentError(
                f"the certificate of {host} is not valid: {error.verify_message}",
                hint="set ca_file in the profile, or SSL_CERT_FILE, if the CA is your own",
            ) from error
        except OSError as error:
            sock.close()
            raise UnsentError(f"no TLS connection to {host} can be made") from error
        if isinstance(secure, TlsSocket):
            secure.share()
        return secure

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        """Return the settings for a CA file; reading the certificates takes a while."""
        path = ca_file or self._environ.get("SSL_CERT_FILE") or None
        if path not in self._contexts:
            self._contexts[path] = make_context(path)
            self._contexts[path].sslsocket_class = TlsSocket
        return self._contexts[path]

    def _tunnel(self, proxy: str, url: Url, ca_file: str | None) -> socket.socket:
        """Return a connection through an HTTP proxy (RFC 9110, section 9.3.6)."""
        parts = urlsplit(proxy)
        try:
            port = parts.port or _PROXY_PORTS[parts.scheme.lower()]
        except ValueError as error:
            raise UsageError("the proxy that is set has no valid port") from error
        sock = _connect(parts.hostname or "", port)
        if parts.scheme.lower() == "https":
            sock = _spliced(self._secure(sock, parts.hostname or "", ca_file))
        target = f"{url.host}:{url.port}"
        headers = [("Host", target)]
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            basic = base64.b64encode(user.encode()).decode()
            headers.append(("Proxy-Authorization", f"Basic {basic}"))
        try:
            is_open = _ask(sock, h11.Request(method="CONNECT", target=target, headers=headers))
        except (OSError, h11.ProtocolError) as error:
            sock.close()
            raise UnsentError("the proxy can't be talked to") from error
        if not is_open:
            sock.close()
            raise IssuerError(f"the proxy does not lead to {url.host}")
        return sock


def _ask(sock: socket.socket, request: h11.Request) -> bool:
    """Send a CONNECT and return whether the proxy agrees; what follows its head is left alone."""
    protocol = h11.Connection(h11.CLIENT)
    sock.sendall(protocol.send(request) or b"")
    while (event := protocol.next_event()) is h11.NEED_DATA:
        # Security: byte by byte, since what comes after the head is TLS's.
        protocol.receive_data(sock.recv(1))
    return isinstance(event, h11.Response) and event.status_code == _OK


def _connect(host: str, port: int) -> socket.socket:
    """Connect by TCP. `localhost` is 127.0.0.1, or [::1] where nothing listens: no resolver."""
    names = ["127.0.0.1", "::1"] if host == "localhost" else [host.strip("[]")]
    try:
        for name in names[:-1]:
            with suppress(ConnectionRefusedError):
                return _opened(name, port)
        return _opened(names[-1], port)
    except TimeoutError as error:
        raise UnsentError(f"{host}:{port} can't be reached in time") from error
    except OSError as error:
        named = isinstance(error, socket.gaierror)
        why = "its name is not known" if named else os.strerror(error.errno or 0).lower()
        raise UnsentError(f"{host}:{port} can't be reached: {why}") from error


def _opened(name: str, port: int) -> socket.socket:
    sock = socket.create_connection((name, port), timeout=CONNECT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a dead peer is noticed some day
    return sock


def _spliced(secure: socket.socket) -> socket.socket:
    """Return a plain socket whose bytes go through a TLS one: TLS within TLS needs no more."""
    ours, theirs = socket.socketpair()
    secure.settimeout(None)
    threading.Thread(target=_copy_both, args=(secure, theirs), daemon=True).start()
    ours.settimeout(CONNECT_S)
    return ours


def _copy_both(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(other, one), daemon=True)
    back.start()
    _copy(one, other)
    back.join()
    one.close()
    other.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_READ_BYTES):
            target.sendall(data)
    for sock in (source, target):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
