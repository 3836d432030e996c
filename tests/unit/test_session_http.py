"""The server of a session: requests that two programs read differently, and clients that stay."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.session.serve.http import HttpReply, Limits, SessionServer
from tests.gateway_room import WAIT_S, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.session.serve.http import ServedRequest

SHORT = Limits(idle_s=0.3, head_s=0.3, body_s=0.5, body_bytes=4096)
GOOD = "GET /good HTTP/1.1\r\nHost: x\r\n\r\n"


class Room:
    """A server that notes what it was asked and answers with the body."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.targets: list[str] = []
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = listener.getsockname()[1]
        self.server = SessionServer(listener, self.answer, limits=limits)
        self.server.start()

    def answer(self, asked: ServedRequest) -> HttpReply:
        """Answer with the request's body."""
        body = asked.read_body()
        self.targets.append(asked.target)
        if asked.target == "/bug":
            raise ZeroDivisionError
        return HttpReply(status=200, body=body)

    def client(self) -> Client:
        """Return a new connection."""
        return Client(self.port)


@contextlib.contextmanager
def room(limits: Limits | None = None) -> Iterator[Room]:
    """Yield a room and close it."""
    found = Room(limits)
    try:
        yield found
    finally:
        found.server.close()


SMUGGLED = {
    "two lengths": (
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
    ),
    "two lengths in one": "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 4\r\n\r\nabcd",
    "a length and chunks": (
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a length that is none": "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
    "a negative length": "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a coding over another": (
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    "an odd coding": (
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"
    ),
    "a space before the colon": (
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
    ),
    "chunks in HTTP/1.0": (
        "POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a chunk without hex": (
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n"
    ),
    "a chunk longer than it says": (
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n"
    ),
    "a chunk of a huge size": (
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "fffffffffffffffffffffffff\r\nab\r\n0\r\n\r\n"
    ),
    "a folded header": "GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n Content-Length: 9\r\n\r\n",
    "a header folded with a tab": "GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\tb\r\n\r\n",
    "an absolute URI": "GET http://evil.test/a HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "a star": "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
    "CONNECT of a path": "CONNECT /a HTTP/1.1\r\nHost: x\r\n\r\n",
    "two hosts": "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no host": "GET /a HTTP/1.1\r\n\r\n",
    "no name": "GET /a HTTP/1.1\r\nHost: x\r\n: 1\r\n\r\n",
    "a NUL": "GET /a HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
    "a lone CR": "GET /a HTTP/1.1\r\nHost: x\r\nX-A: a\rX-B: b\r\n\r\n",
    "a target with a space": "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an empty line first": "\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("text", SMUGGLED.values(), ids=SMUGGLED.keys())
@pytest.mark.parametrize("is_second", [False, True], ids=["first", "pipelined"])
def test_a_request_that_can_be_read_in_two_ways_ends_the_connection(
    text: str,
    is_second: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It is refused, alone and behind a good one, and what follows it is never read."""
    with room() as found, found.client() as client:
        client.send((GOOD if is_second else "") + text + GOOD.replace("good", "hidden"))
        if is_second:
            assert client.read().status == 200
        assert 400 <= client.read().status < 600
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()
        assert found.targets == ["/good"] * is_second


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_requests_come_in_pieces_of_any_size(size: int) -> None:
    """Three at once, one with a body in chunks, each byte alone or all together."""
    chunks = (
        "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    text = (GOOD + chunks + GOOD).encode()
    with room() as found, found.client() as client:
        for at in range(0, len(text), size):
            client.send(text[at : at + size])
        assert [client.read().body for _ in range(3)] == [b"", b"abc", b""]
        assert found.targets == ["/good", "/b", "/good"]


def test_a_slow_head_is_given_up() -> None:
    """A byte now and then does not hold a connection longer than its limit."""
    with room(SHORT) as found, found.client() as client:
        begin = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for char in GOOD * 40:
                client.send(char)
                time.sleep(0.02)
        assert client.is_closed()
        assert not found.targets
        assert time.monotonic() - begin < WAIT_S


@pytest.mark.parametrize(
    "text",
    ["", "GET /", GOOD, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"],
    ids=["nothing", "half a head", "an idle one", "half a body"],
)
def test_a_client_that_says_nothing_more_is_let_go(text: str) -> None:
    """Each wait has its limit: before, within and after a request, and within a body."""
    with room(SHORT) as found, found.client() as client:
        client.send(text)
        assert client.is_closed()


@pytest.mark.parametrize("length", ["Content-Length: 10485760", "Transfer-Encoding: chunked"])
def test_ten_megabytes_are_413(length: str) -> None:
    """Refused when the limit is met, and the client that still sends sees why."""
    with room() as found, found.client() as client:
        client.send(f"POST /a HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n")

        def send() -> None:
            piece = b"x" * (1 << 20)
            data = piece if length.startswith("C") else b"100000\r\n" + piece + b"\r\n"
            with contextlib.suppress(OSError):
                for _ in range(10):
                    client.send(data)

        sender = threading.Thread(target=send)
        sender.start()
        assert client.read().status == 413
        client.sock.shutdown(socket.SHUT_RDWR)
        sender.join(WAIT_S)
        assert not found.targets


def test_a_head_without_end_is_431() -> None:
    """A head is never longer than its limit."""
    with room() as found, found.client() as client:
        client.send("GET /a HTTP/1.1\r\nHost: x\r\nX-A: " + "a" * 70_000)
        assert client.read().status == 431
        assert not found.targets


def test_200_clients_are_answered_beside_50_half_open_ones() -> None:
    """Those that say nothing do not keep the others waiting."""
    with room() as found, contextlib.ExitStack() as stack:
        half = [stack.enter_context(found.client()) for _ in range(50)]
        for client in half:
            client.send("GET /half HTTP/1.1\r\n")
        clients = [stack.enter_context(found.client()) for _ in range(200)]
        for client in clients:
            client.send(GOOD)
        assert [client.read().status for client in clients] == [200] * 200


def test_one_client_too_many_is_told() -> None:
    """503, and room again when another has left."""
    with room(Limits(clients=2)) as found, found.client() as one, found.client() as other:
        for client in (one, other):
            client.send(GOOD)
            assert client.read().status == 200
        with found.client() as third:
            assert third.read().status == 503
        one.sock.close()
        status = 503
        end = time.monotonic() + WAIT_S
        while status == 503 and time.monotonic() < end:
            with found.client() as fourth:
                fourth.send(GOOD)
                status = fourth.read().status
        assert status == 200


def test_a_bug_is_500_and_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """The child's terminal is not the place for ours; other connections go on."""
    with room() as found, found.client() as client:
        client.send(GOOD.replace("good", "bug"))
        answer = client.read()
        assert (answer.status, answer.headers["brokerctl-error"]) == (500, "request")
        with found.client() as other:
            other.send(GOOD)
            assert other.read().status == 200
    assert capfd.readouterr().err == ""


def test_without_descriptors_clients_wait_and_are_then_answered() -> None:
    """accept(2) fails while there is none, and the server is there when there is one again."""
    with room() as found, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(20)]
        with _no_descriptors():
            for client in clients:
                client.settimeout(WAIT_S)
                client.connect(("127.0.0.1", found.port))
                client.sendall(GOOD.encode())
            time.sleep(0.2)
            assert len(found.targets) < 20  # accept(2) reserves one before it waits
        for client in clients:
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")


@contextlib.contextmanager
def _no_descriptors() -> Iterator[None]:
    """Leave not one descriptor to this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in held:
            os.close(fd)


def test_close_ends_every_connection() -> None:
    """Idle and half-open ones alike."""
    with room() as found, found.client() as idle, found.client() as half:
        idle.send(GOOD)
        assert idle.read().status == 200
        half.send("GET /")
        found.server.close()
        assert idle.is_closed()
        assert half.is_closed()
