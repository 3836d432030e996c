"""An HTTP/1.1 server for the one child of a session, over any listening socket.

The protocol is h11's, which does no I/O. Here are the threads, one for each connection, and the
limits: how many connections, how long a head and a body may take and be. What h11 takes and a
proxy behind us might read in another way is refused: two lengths, a folded header, a target that
is no path (RFC 9112, sections 2.2, 3.2, 5.2 and 6.3).
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from http import HTTPStatus

import h11

from brokerctl import jsonlite
from brokerctl.model import Value
from brokerctl.platform.system import take_no_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Headers = list[tuple[str, str]]

READ_BYTES = 1 << 16
MAX_HEAD_BYTES = 1 << 16
_CLOSE = ("Connection", "close")
_PREFIX = "/"


class Limits(Value):
    """How much, and for how many seconds, a client can hold on to us."""

    clients: int = 512
    idle_s: float = 60.0  # without a byte, before a request and between two
    head_s: float = 10.0  # from the first byte of a request to the end of its head
    body_s: float = 30.0  # for a body that is read whole, and for a reply that is written whole
    body_bytes: int = 1 << 20


class HttpReply(Value):
    """A whole answer: status, body, and headers beside its length."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class RequestError(Exception):
    """A request that gets an error as its answer, and then no other on this connection."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class GoneError(Exception):
    """The other side has closed the connection, or says nothing any more."""


class Connection:
    """One connection: h11's state and the socket, with a deadline for each wait."""

    def __init__(self, sock: socket.socket, role: Any, limits: Limits) -> None:  # noqa: ANN401 - a sentinel of h11
        """`role` is ours: h11.SERVER, or h11.CLIENT towards an upstream."""
        self.sock = sock
        self.h11 = h11.Connection(role, MAX_HEAD_BYTES)
        self.limits = limits
        self.has_received = False  # … by receive_now, of this message
        self.is_bypassed = False  # a whole body was read from the socket itself, beside h11
        self.lock = threading.RLock()  # of h11, where one thread reads and another writes
        self.wants_body = True  # of the answer to the request at hand: not to HEAD
        self._head = bytearray()  # what came of a head, until it is whole

    def begin(self, deadline: float) -> None:
        """Wait for the first bytes of a request, if there are none yet."""
        self._head += self.h11.trailing_data[0]
        if self._head:
            _refuse_folded(bytes(self._head))
        else:
            self.receive(deadline)

    def next_event(self, deadline: float) -> Any:  # noqa: ANN401 - an event of h11, or one of its sentinels
        """Return what comes next; GoneError at the deadline (of time.monotonic) or a close."""
        while True:
            event = self.h11.next_event()
            if event is not h11.NEED_DATA:
                self._head.clear()
                return event
            self.receive(deadline)

    def receive(self, deadline: float) -> None:
        """Give h11 what has arrived, waiting for it if need be."""
        data = self.recv(deadline)
        if not data and self.h11.their_state is h11.IDLE:
            raise GoneError
        if self.h11.their_state is h11.IDLE:
            self._head += data
            _refuse_folded(bytes(self._head))
        self.h11.receive_data(data)

    def recv(self, deadline: float, most: int = READ_BYTES) -> bytes:
        """Return what has arrived, b"" at the end; GoneError at the deadline."""
        try:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            return self.sock.recv(most)
        except OSError as error:  # a time-out is one
            raise GoneError from error

    def send(self, *events: h11.Event, deadline: float) -> None:
        """Write events in full; GoneError where that fails."""
        with self.lock:
            data = b"".join(filter(None, map(self.h11.send, events)))
        self.send_bytes(data, deadline)

    def send_bytes(self, data: bytes | memoryview, deadline: float) -> None:
        """Write bytes in full; GoneError where that fails."""
        try:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            self.sock.sendall(data)
        except OSError as error:
            raise GoneError from error

    def renew(self) -> None:
        """Make ready for the next message; h11 need not have seen the body of the last one."""
        arrived = self.h11.trailing_data[0]
        self.h11 = h11.Connection(self.h11.our_role, MAX_HEAD_BYTES)
        self.is_bypassed = self.has_received = False
        if arrived:
            self.h11.receive_data(arrived)

    def receive_now(self) -> None:
        """Give h11 what has arrived, if anything has; GoneError where the connection is broken."""
        try:
            self.sock.settimeout(0)
            data = self.sock.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return  # TLS had something to say to itself
        except OSError as error:
            raise GoneError from error
        self.has_received = self.has_received or bool(data)
        self.h11.receive_data(data)


class ServedRequest:
    """One request: its head, what can be read of its body, and where its answer goes."""

    def __init__(self, connection: Connection, request: h11.Request) -> None:
        self.connection = connection
        self.method = request.method.decode("ascii")
        self.is_old = request.http_version < b"1.1"
        self.target = request.target.decode("ascii")  # h11 lets nothing else through
        self.headers: Headers = [
            (name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers
        ]
        self.raw_headers = request.headers.raw_items()  # names as the client wrote them

    def header(self, name: str) -> str | None:
        """Return the first header of this name, in lower case; None if there is none."""
        return next((value for one, value in self.headers if one == name), None)

    def read_body(self) -> bytes:
        """Return the whole body; RequestError (413) above the limit."""
        limits, connection = self.connection.limits, self.connection
        deadline = time.monotonic() + limits.body_s
        length = self.header("content-length")
        if length is not None and int(length) > limits.body_bytes:
            raise RequestError(413, "the request is too large")
        if connection.h11.they_are_waiting_for_100_continue:
            connection.send(
                h11.InformationalResponse(status_code=100, headers=[]), deadline=deadline
            )
        body = bytearray()
        while True:
            event = connection.next_event(deadline)
            if isinstance(event, h11.Data):
                body += event.data
                if len(body) > limits.body_bytes:
                    raise RequestError(413, "the request is too large")
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            else:
                raise GoneError

    def reply(self, reply: HttpReply) -> None:
        """Write a whole answer; GoneError where that fails."""
        headers = [*reply.headers, ("Content-Length", str(len(reply.body)))]
        deadline = time.monotonic() + self.connection.limits.body_s
        events: list[h11.Event] = [_response(reply.status, headers)]
        if reply.body and self.method != "HEAD":
            events.append(h11.Data(data=reply.body))
        self.connection.send(*events, h11.EndOfMessage(), deadline=deadline)


def error_reply(status: int, text: str, name: str = "request", **more: object) -> HttpReply:
    """Return an error as the documented JSON; a header tells it from an upstream's own."""
    body = {"schema": 1, "error": {"name": name, "message": text, **more}}
    headers = (("Content-Type", "application/json"), ("Brokerctl-Error", name), _CLOSE)
    return HttpReply(
        status=status, body=jsonlite.dumps(body).encode("ascii") + b"\n", headers=headers
    )


def _response(status: int, headers: Headers) -> h11.Response:
    return h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase)


class SessionServer:
    """Listens, and answers each connection in a thread of its own until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[ServedRequest], HttpReply | None],
        admits: Callable[[socket.socket], bool] = lambda _: True,
        limits: Limits | None = None,
    ) -> None:
        """`answer` returns what to reply, or None if it did so itself; it may raise RequestError.

        `admits` says whether the process at the other end may be here.
        """
        self._listener = listener
        self._answer = answer
        self._admits = admits
        self._limits = limits or Limits()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def start(self) -> None:
        """Begin to answer; connections that were made before have waited."""
        threading.Thread(target=self._accept, daemon=True, name="accept").start()

    def close(self) -> None:
        """Close the listener and every connection."""
        with self._lock:
            self._is_closed = True
            left = list(self._open)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop(left)

    def drop(self, left: list[socket.socket] | None = None) -> None:
        """Close connections: these, or all that there are."""
        if left is None:
            with self._lock:
                left = list(self._open)
        for sock in left:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        take_no_signal()  # the main thread waits for them, and later threads are as this one
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if self._is_closed:
                    return
                time.sleep(0.05)  # out of descriptors: what is open now will end
                continue
            with self._lock:
                if self._is_closed:
                    sock.close()
                    return
                self._open.add(sock)
                is_full = len(self._open) > self._limits.clients
            try:
                threading.Thread(target=self._serve, args=(sock, is_full), daemon=True).start()
            except RuntimeError:  # no thread can be had
                self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)
        sock.close()

    def _serve(self, sock: socket.socket, is_full: bool) -> None:  # noqa: FBT001 - a thread's argument
        connection = Connection(sock, h11.SERVER, self._limits)
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if is_full:
                self._refuse(connection, 503, "too many connections")
            elif not self._admits(sock):
                self._refuse(connection, 403, "this session is another user's")
            else:
                while self._serve_one(connection):
                    pass
        except (GoneError, OSError):
            pass  # there is nobody to tell
        finally:
            self._forget(sock)

    def _serve_one(self, connection: Connection) -> bool:
        """Answer one request; return whether another may follow."""
        try:
            asked = self._read(connection)
            reply = self._answer(asked)
            if reply is not None:
                asked.reply(reply)
        except h11.RemoteProtocolError as error:
            self._refuse(connection, error.error_status_hint, "no request that we read")
            return False
        except RequestError as error:
            self._refuse(connection, error.status, error.text)
            return False
        except (GoneError, OSError):
            raise
        except Exception:  # noqa: BLE001 - the last handler of this thread: no traceback, no values
            self._refuse(connection, 500, "unexpected: a bug")
            return False
        if not connection.is_bypassed and connection.h11.their_state is h11.SEND_BODY:
            self._linger(connection)  # a body that nobody read
            return False
        if connection.h11.our_state is not h11.DONE:
            return False  # an answer that ends with the connection
        connection.renew()
        return True

    def _read(self, connection: Connection) -> ServedRequest:
        """Read a head; RequestError for one that somebody else might read in another way."""
        connection.begin(time.monotonic() + self._limits.idle_s)
        event = connection.next_event(time.monotonic() + self._limits.head_s)
        if not isinstance(event, h11.Request):
            raise GoneError  # it was closed between two requests
        asked = ServedRequest(connection, event)
        connection.wants_body = asked.method != "HEAD"
        if asked.method == "CONNECT":
            raise RequestError(405, "no connection is made from here")
        if not asked.target.startswith(_PREFIX):
            raise RequestError(400, "the target is no path")
        if asked.header("transfer-encoding"):
            if asked.header("content-length"):
                raise RequestError(400, "the request has two lengths")
            if asked.is_old:
                raise RequestError(400, "HTTP/1.0 knows no transfer coding")
        return asked

    def _refuse(self, connection: Connection, status: int, text: str) -> None:
        """Write an error, and read a little of what still comes, so that the client sees it."""
        if connection.h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        reply = error_reply(status, text)
        length = ("Content-Length", str(len(reply.body)))
        deadline = time.monotonic() + self._limits.head_s
        connection.send(
            _response(status, [*reply.headers, length]),
            h11.Data(data=reply.body if connection.wants_body else b""),
            h11.EndOfMessage(),
            deadline=deadline,
        )
        self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        """Read a little of what still comes: a close at once could cost the client our answer."""
        deadline = time.monotonic() + self._limits.head_s
        connection.sock.shutdown(socket.SHUT_WR)
        left = 4 * self._limits.body_bytes
        while left > 0 and (data := connection.recv(deadline)):
            left -= len(data)


def _refuse_folded(head: bytes) -> None:
    """Refuse a header that goes on in the next line (RFC 9112, section 5.2), which h11 joins."""
    head = head.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    if b"\n " in head or b"\n\t" in head:
        raise RequestError(400, "a header goes on in the next line")
