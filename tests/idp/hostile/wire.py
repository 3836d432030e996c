"""Sockets of the hostile issuer: one request a connection, answered in the way that is wanted."""

from __future__ import annotations

import re
import socket
import threading
import time
from itertools import chain, repeat
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PATIENCE_S = 30.0  # how long a way without an end goes on where the client stays
DRIP_S = 0.02
CHUNK = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
ENDLESS = {"hang", "drip", "drip head", "pour 1xx"}  # but for the client's own deadline
LINGER_NOT = b"\1\0\0\0\0\0\0\0"  # close with a reset


class Answer(NamedTuple):
    """What is answered, and how: whole, raw, cut, reset, or one of the ways without an end."""

    body: bytes = b""
    status: int = 200
    headers: tuple[str, ...] = ()
    how: str = "whole"


class Request(NamedTuple):
    """What came in: `text` is all of it, to be searched for secrets."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    text: str


class Wire:
    """Listens on a loopback port and answers each connection in a thread of its own."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        try:
            with link:
                link.settimeout(PATIENCE_S)
                answer = self._answer(_read(link))
                for piece in _pieces(link, answer):
                    link.sendall(piece)
        except OSError:
            pass  # the client has gone, as it should from a way without an end


def _read(link: socket.socket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(link)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += _some(link)
    method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
    path, _, query = target.partition("?")
    text = head.decode() + "\r\n\r\n" + body.decode()
    return Request(method, path, dict(parse_qsl(query)), dict(parse_qsl(body.decode())), text)


def _some(link: socket.socket) -> bytes:
    data = link.recv(65536)
    if not data:
        raise ConnectionError
    return data


def _pieces(link: socket.socket, answer: Answer) -> Iterator[bytes]:
    """Yield what goes over the wire, at the pace of its way."""
    start = b"HTTP/1.1 200 OK\r\n"
    ways: dict[str, Callable[[], Iterable[bytes]]] = {
        "whole": lambda: [_head(answer, len(answer.body)) + answer.body],
        "raw": lambda: [answer.body],
        "cut": lambda: [_head(answer, len(answer.body) + 1) + answer.body],
        "drip": lambda: chain([_head(answer, 1 << 20)], _slowly(b" ")),
        "drip head": lambda: chain([start], _slowly(b"x: y\r\n")),
        "pour 1xx": lambda: _slowly(b"HTTP/1.1 102 Processing\r\n\r\n"),
        "pour head": lambda: chain([start], repeat(b"x: " + b"y" * 1000 + b"\r\n")),
        "pour": lambda: chain([start, b"transfer-encoding: chunked\r\n\r\n"], repeat(CHUNK)),
    }
    if answer.how == "reset":
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    elif answer.how == "hang":
        link.recv(1)  # until the client hangs up
    else:
        yield from ways[answer.how]()


def _head(answer: Answer, length: int) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} X", f"content-length: {length}", *answer.headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def _slowly(piece: bytes) -> Iterator[bytes]:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        yield piece
        time.sleep(DRIP_S)
