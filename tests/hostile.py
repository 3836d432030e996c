"""Servers that do what a test says, and what an honest client sends to them."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from brokerctl.effects.http import Http
from brokerctl.oauth.message import post_form
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    Act = Callable[[socket.socket], object]
    Serve = Callable[..., "Server"]

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


@contextmanager
def serving() -> Iterator[Serve]:
    """Give what starts a server, until the end of a test."""
    servers: list[Server] = []

    def start(act: Act, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Server:
        servers.append(Server(act, tls, host))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def say(data: bytes) -> Act:
    """Return an act that answers and hangs up."""
    return lambda link: link.sendall(data)


def body(data: bytes, *headers: bytes) -> bytes:
    """Return a whole answer."""
    return b"".join([OK, b"content-length: %d\r\n" % len(data), *headers, b"\r\n", data])


def get(url: str, http: Http | None = None, seconds: float = 5.0) -> bytes:
    """Send a POST with a secret and return the body of the answer."""
    request = post_form(url, [("refresh_token", Secret("rt-secret"))])
    return (http or Http()).send(request, work_time() + seconds).body
