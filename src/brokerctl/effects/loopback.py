"""Where the browser brings the issuer's answer: one small listener on loopback (RFC 8252, 7.3).

Security: any program on this machine and any web page can send requests here while a login waits.
So only a GET of /callback with our Host, and with the login's own `state`, ends the wait.
Everything else is refused and forgotten, and a connection that sends nothing delays no other.
A program of another user is always refused: it does not get the issuer's address, whose `state`
would let it log us in as itself, and its callback is not taken. All users can read a browser's
command line, so that holds an address of this listener, which leads to the issuer once.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
import selectors
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from brokerctl.config.duration import render_duration
from brokerctl.effects.peer import FOREIGN, OURS, UNKNOWN, whose
from brokerctl.errors import LoginNeededError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.effects.paste import Paste
    from brokerctl.effects.peer import Verdict

    Accept = Callable[[str], bool]

TIMEOUT_S = 300.0
PATH = "/callback"
_START = "/start/"
_MAX_HEAD_BYTES = 16384
_MAX_CONNECTIONS = 64
_CONNECTION_S = 10.0
_END_PAGE = (
    "<!doctype html><meta charset=utf-8><title>brokerctl</title>"
    "<p>brokerctl has the answer. This window can be closed.\n"
)
_OPENED_TWICE = (
    "This address was opened once before, and it works once. If your browser only asked a second"
    " time, go on where it went first, or visit the address that brokerctl shows in your terminal."
    " If something else has opened it, end the login there (Ctrl-C) and run it again."
)
_NOT_YOURS = "This login waits for another user's browser, or can't tell whose this one is."
_OK, _SEE_OTHER, _FORBIDDEN, _GONE = 200, 303, 403, 410
_REASONS = {
    200: "OK",
    303: "See Other",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
}


def nobody_answered(wait_s: float) -> LoginNeededError:
    """Return the error of a login that took longer than it may."""
    return LoginNeededError(
        f"nobody answered within {render_duration(int(wait_s))}",
        hint="run the same login again, with --wait 15m if it takes longer",
    )


class _Connection:
    """One connection until its request's head is complete."""

    def __init__(self, link: socket.socket, now: float) -> None:
        self.link = link
        self.head = b""
        self.ends_at = now + _CONNECTION_S


class Loopback:
    """A listener on 127.0.0.1, or on [::1] where there is no IPv4; used once, then closed."""

    def __init__(
        self,
        port: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
        find_owner: Callable[[socket.socket], Verdict] = whose,
    ) -> None:
        """`tell` is called with what the person at the terminal has to know."""
        self._listener = _listen(port or 0)
        self._tell = tell
        self._find_owner = find_owner
        self._start = self._target = ""
        self._told: set[str] = set()
        self.is_peer_known = True  # False: another user may have brought the answer
        host, self.port = self._listener.getsockname()[:2]
        self.host = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.redirect_uri = f"http://{self.host}{PATH}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._open: dict[socket.socket, _Connection] = {}

    def offer(self, url: str) -> str:
        """Return an address of this listener that leads to `url` for the first who opens it."""
        self._start, self._target = f"{_START}{secrets.token_urlsafe(24)}", url
        return f"http://{self.host}{self._start}"

    def wait(self, accept: Accept, timeout_s: float = TIMEOUT_S, paste: Paste | None = None) -> str:
        """Return the query of the first callback that `accept` takes, from the browser or pasted.

        Raises LoginNeededError when nobody answers in time.
        """
        deadline = time.monotonic() + timeout_s
        with ExitStack() as stack:
            stack.callback(self.close)
            if paste is not None:
                self._selector.register(paste.fd, selectors.EVENT_READ)
            while (now := time.monotonic()) < deadline:
                self._drop_slow(now)
                for key, _ in self._selector.select(min(1.0, deadline - now)):
                    if key.fileobj is self._listener:
                        self._accept()
                        continue
                    if isinstance(key.fileobj, socket.socket):
                        query = self._read(self._open.get(key.fileobj), accept)
                    else:
                        query = self._pasted(paste, accept)
                    if query is not None:
                        return query
        raise nobody_answered(timeout_s)

    def close(self) -> None:
        """Stop listening, and drop who is still connected."""
        for connection in list(self._open.values()):
            self._drop(connection)
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        try:
            link, _ = self._listener.accept()
        except OSError:
            return  # it went away, or there are no descriptors left for it
        link.setblocking(False)  # noqa: FBT003 - the socket's own signature
        if len(self._open) >= _MAX_CONNECTIONS:
            self._drop(next(iter(self._open.values())))
        self._open[link] = _Connection(link, time.monotonic())
        self._selector.register(link, selectors.EVENT_READ)

    def _drop_slow(self, now: float) -> None:
        for connection in [found for found in self._open.values() if found.ends_at <= now]:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if self._open.pop(connection.link, None) is not None:
            self._selector.unregister(connection.link)
            connection.link.close()

    def _read(self, connection: _Connection | None, accept: Accept) -> str | None:
        if connection is None:
            return None  # dropped a moment ago to make room
        try:
            chunk = connection.link.recv(_MAX_HEAD_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        connection.head += chunk
        if not chunk:
            self._drop(connection)
        elif len(connection.head) > _MAX_HEAD_BYTES:
            self._answer(connection, 431)
        elif b"\r\n\r\n" in connection.head:
            return self._serve(connection, accept)
        return None

    def _serve(self, connection: _Connection, accept: Accept) -> str | None:
        """Answer one request; return the query of the callback that is waited for."""
        peer, uid = self._find_owner(connection.link)
        if peer not in {OURS, UNKNOWN}:
            if peer == FOREIGN:
                self._tell_once(f"refused a program of another user here (uid {uid})")
            self._answer(connection, _FORBIDDEN, _NOT_YOURS)
            return None
        status, target = read_target(connection.head, self.host)
        if (
            status == _OK
            and self._start
            and hmac.compare_digest(target.encode(), self._start.encode())
        ):
            self._lead(connection, peer)
            return None
        status, query = read_callback(connection.head, self.host, accept)
        if query is not None and peer == UNKNOWN:
            self.is_peer_known = False
        self._answer(connection, status)
        return query

    def _lead(self, connection: _Connection, peer: str) -> None:
        """Send the first who opens the start address to the issuer; refuse the second, and tell."""
        target, self._target = self._target, ""
        if not target:
            self._tell_once("the address that the browser got was opened a second time")
            self._answer(connection, _GONE, _OPENED_TWICE)
            return
        if peer == UNKNOWN:
            self.is_peer_known = False
        # What stands in a header is printable ASCII; a URL that is one stays as it is.
        where = quote(target, safe="".join(map(chr, range(0x21, 0x7F))))
        self._answer(connection, _SEE_OTHER, more=f"Location: {where}\r\n")

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < _MAX_CONNECTIONS:
            self._told.add(text)
            self._tell(text)

    def _answer(self, connection: _Connection, status: int, text: str = "", more: str = "") -> None:
        # Security: the page is the same for everybody and repeats nothing of the request.
        body = _END_PAGE if status == _OK else f"{status} {_REASONS[status]}\n"
        body += f"{text}\n" if text else ""
        kind = "text/html; charset=utf-8" if status == _OK else "text/plain"
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n{more}"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
            "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
            "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
            "Connection: close\r\n\r\n"
        )
        with suppress(OSError):  # whoever asked may be gone
            connection.link.send((head + body).encode())
            connection.link.shutdown(socket.SHUT_WR)
        self._drop(connection)

    def _pasted(self, paste: Paste | None, accept: Accept) -> str | None:
        assert paste is not None  # noqa: S101 - nothing else is registered
        while line := paste.read_line():
            query = read_pasted(line, self.redirect_uri, accept)
            # Security: a code is good for one try. One that a line's end broke is not sent.
            if query is not None and not paste.is_followed():
                return query
            if line.strip():
                paste.say("this is not the address that this login ends at; copy it whole")
        if line is None:
            self._selector.unregister(paste.fd)
        return None


def _listen(port: int) -> socket.socket:
    families = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    for family, address in families:
        listener = None
        try:
            listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            if port:  # a fixed port may still be in TIME_WAIT from the login before
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(128)
        except OSError as error:
            if listener is not None:
                listener.close()
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                continue
            reason = os.strerror(error.errno or 0).lower()
            raise UsageError(
                f"can't listen on {address} port {port}: {reason}", hint="try another --port"
            ) from error
        listener.setblocking(False)  # noqa: FBT003 - the socket's own signature
        return listener
    raise UsageError("this machine has no loopback address", hint="try '--flow device'")


def read_target(head: bytes, host: str) -> tuple[int, str]:
    """Return 200 and what a GET with our Host asks for; else the status that refuses it."""
    lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target, version
        return 400, ""
    hosts = [
        value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
        if name.lower() == "host"
    ]
    # Security: another name in Host is DNS rebinding; two of them are request smuggling.
    if hosts != [host]:
        return 421, ""
    if words[0] != "GET":
        return 405, ""
    return _OK, words[1]


def read_callback(head: bytes, host: str, accept: Accept) -> tuple[int, str | None]:
    """Return the status for a request, and the query if it is the callback that is waited for."""
    status, target = read_target(head, host)
    if status != _OK:
        return status, None
    path, _, query = target.partition("?")
    if path != PATH:
        return 404, None
    return (_OK, query) if accept(query) else (400, None)


def read_pasted(line: str, redirect_uri: str, accept: Accept) -> str | None:
    """Return the query of a pasted callback URL, or None if it is not this login's."""
    start, _, query = line.strip().partition("?")
    query = query.partition("#")[0]
    return query if start == redirect_uri and accept(query) else None
