"""Opens connections for what a session forwards: TCP, through a proxy if one is set, then TLS.

`effects/http` asks issuers and bounds what they answer. Here only the connection is made: what
goes over it are the bytes of others, for as long as they come.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import h11

from brokerctl.config.hosts import is_loopback
from brokerctl.effects.http import CONNECT_S, make_context
from brokerctl.effects.proxies import find_proxy
from brokerctl.errors import IssuerError, UnsentError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.hosts import Url

_READ_BYTES = 1 << 16
_PROXY_PORTS = {"http": 80, "https": 443}
_OK = 200


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
            return self._context(ca_file).wrap_socket(sock, server_hostname=host.strip("[]"))
        except ssl.SSLCertVerificationError as error:
            sock.close()
            raise UnsentError(
                f"the certificate of {host} is not valid: {error.verify_message}",
                hint="set ca_file in the profile, or SSL_CERT_FILE, if the CA is your own",
            ) from error
        except OSError as error:
            sock.close()
            raise UnsentError(f"no TLS connection to {host} can be made") from error

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        """Return the settings for a CA file; reading the certificates takes a while."""
        path = ca_file or self._environ.get("SSL_CERT_FILE") or None
        if path not in self._contexts:
            self._contexts[path] = make_context(path)
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
