"""One request on its way from a child to an upstream, and its answer back; neither is held.

Used by whatever adds a credential to requests. Who asks and where a request may go was decided
before; here are the bytes. Each request has the thread of its connection, and a second one only
while both directions have a body at the same time.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress

import h11

from brokerctl.errors import BrokerError
from brokerctl.model import Value
from brokerctl.session.mask import Masker
from brokerctl.session.serve import heads
from brokerctl.session.serve.body import BodyReader, BodyWriter, Mover
from brokerctl.session.serve.http import GoneError
from brokerctl.session.serve.upstream import has_arrived

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerctl.config.hosts import Url
    from brokerctl.session.serve.credentials import AddedCredential
    from brokerctl.session.serve.http import ServedRequest
    from brokerctl.session.serve.upstream import Upstreams, UpstreamTaken

HELD_BYTES = 1 << 16  # of a request's body, in case that it is sent again
STALL_S = 600.0  # without a byte that can be written, or of a body that was begun
_SETTLE_MS = 20  # an upstream's pause, after which the beginning of what may be a token is shown
_SWITCHING, _UNAUTHORIZED, _CONTINUE = 101, 401, 100
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))  # RFC 9110, section 9.2.2


class Route(Value):
    """Where a request goes, whose connections it uses, and what finds the CA file for new ones."""

    profile: str
    url: Url
    find_ca_file: Callable[[], str | None]


class UpstreamError(Exception):
    """The upstream can't be reached, or does not speak HTTP, before its answer has begun."""

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


class Forwarding:
    """One request while it is forwarded."""

    def __init__(self, request: ServedRequest, route: Route, upstreams: Upstreams) -> None:
        self._request = request
        self._route = route
        self._upstreams = upstreams
        self._child = request.connection
        given = request.raw_headers
        self._length = heads.content_length(given)
        self._is_chunked = request.header("transfer-encoding") is not None
        self._body = BodyReader(self._child, self._length)
        self._held: bytearray | None = bytearray()  # what was read of the body; None: too much
        self._is_websocket = heads.asks_websocket(given)
        self._is_cut = False  # the upstream takes no more of the body
        self._watches_child = not isinstance(self._child.sock, ssl.SSLSocket)
        self._taken: UpstreamTaken
        self._writer: BodyWriter
        self.credential: AddedCredential | None = None  # the last that was sent
        self.status = 0  # of the answer; 0: none has come
        self.received = 0  # bytes of its body

    @property
    def sent(self) -> int:
        """How many bytes of the request's body were read."""
        return self._body.count

    def run(
        self, first: AddedCredential, renew: Callable[[AddedCredential], AddedCredential | None]
    ) -> None:
        """Forward the request and its answer.

        `renew` is called at most once, after a 401, if the request can be sent again; it returns
        another credential, or None to let the answer pass. Raises UpstreamError where nothing has
        been written to the child yet, GoneError where the child or the rest of the answer is lost.
        """
        if not self._is_chunked and not self._length:
            self._body.read(self._end())  # there is none: h11 says so
        try:
            response = self._ask(first)
            if response.status_code == _UNAUTHORIZED and self._can_repeat():
                fresh = renew(first)
                if fresh is not None:
                    self._upstreams.close(self._taken.connection)
                    response = self._ask(fresh)
            self._deliver(response, self.credential or first)
        except BaseException:
            self._drop()
            raise

    # The request.

    def _ask(self, credential: AddedCredential) -> h11.Response | h11.InformationalResponse:
        """Send the request and return the head of its answer; once more on a stale connection."""
        self._begin(credential, is_new=False)
        try:
            return self._await_answer(credential)
        except UpstreamError:
            is_stale = self._taken.was_used and not self._taken.connection.has_received
            if not (is_stale and self._body.count == 0 and self._request.method in _REPEATABLE):
                raise
        self._upstreams.close(self._taken.connection)
        self._begin(credential, is_new=True)
        return self._await_answer(credential)

    def _begin(self, credential: AddedCredential, *, is_new: bool) -> None:
        """Send the head, and again what was held of the body."""
        self.credential = credential
        route = self._route
        try:
            taken = self._upstreams.take(
                route.profile, route.url, route.find_ca_file, is_new=is_new
            )
        except BrokerError as error:
            raise UpstreamError(error.message, error.hint) from error
        self._taken = taken
        self._is_cut = False
        self._writer = BodyWriter(taken.connection, self._length)
        url = route.url
        headers = heads.towards_upstream(
            self._request.raw_headers,
            url.origin.partition("://")[2],
            (credential.header, credential.value.reveal()),
            is_upgrade=self._is_websocket,
        )
        if self._is_chunked:
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif self._length is not None:
            headers.append((b"Content-Length", str(self._length).encode()))
        target = url.path + ("" if url.query is None else f"?{url.query}")
        head = h11.Request(method=self._request.method, target=target, headers=headers)
        with _upstream():
            taken.connection.send(head, deadline=self._end())
            if self._held:
                self._writer.write(bytes(self._held), self._end())
            if self._body.is_done:
                self._writer.end(self._end())

    def _can_repeat(self) -> bool:
        return self._body.count == 0 or (self._body.is_done and self._held is not None)

    def _await_answer(
        self, credential: AddedCredential
    ) -> h11.Response | h11.InformationalResponse:
        """Send the body as it comes until the answer does; pass on what comes before it (1xx)."""
        connection = self._taken.connection
        while True:
            with _upstream(), connection.lock:
                event = connection.h11.next_event()
            if event is h11.NEED_DATA:
                self._wait_for_answer()
                with _upstream():
                    connection.receive_now()
            elif isinstance(event, h11.Response):
                self.status = event.status_code
                return event
            elif isinstance(event, h11.InformationalResponse):
                if event.status_code == _SWITCHING:
                    return event
                self._pass_on(event, credential)
            else:
                raise UpstreamError("the upstream has closed the connection")

    def _wait_for_answer(self) -> None:
        """Return when the upstream has something to read; meanwhile the body goes there."""
        upstream = self._taken.connection.sock
        while not self._body.is_done and not self._is_cut:
            if self._body.is_waiting:
                if self._first_ready(with_body=True):
                    return
            elif has_arrived(upstream):
                return
            self._send_piece()
        while not self._first_ready():
            pass

    def _send_piece(self) -> None:
        piece = self._body.read(self._end())
        if self._held is not None and piece:
            room = len(self._held) + len(piece) <= HELD_BYTES
            self._held = self._held + piece if room else None
        try:
            if piece:
                self._writer.write(piece, self._end())
            if self._body.is_done:
                self._writer.end(self._end())
        except GoneError:
            self._is_cut = True  # it may have answered all the same

    def _first_ready(self, wait_ms: int | None = None, *, with_body: bool = False) -> bool:
        """Wait for either side; return whether the upstream has something. GoneError: no child.

        With a time, also false when it has passed. A child that has closed its half has gone.
        """
        upstream, child = self._taken.connection.sock, self._child.sock
        if isinstance(upstream, ssl.SSLSocket) and upstream.pending():
            return True
        poll = select.poll()
        poll.register(upstream, select.POLLIN)
        if with_body or (self._watches_child and self._body.is_done):
            poll.register(child, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(wait_ms)}
        if upstream.fileno() in ready:
            return True
        if ready and not with_body:
            self._look_at_child()
        return False

    def _look_at_child(self) -> None:
        """Raise GoneError if the child has closed; what it sends is its next request."""
        try:
            self._child.sock.settimeout(0)
            if not self._child.sock.recv(1, socket.MSG_PEEK):
                raise GoneError
        except BlockingIOError:
            return
        except OSError as error:
            raise GoneError from error
        self._watches_child = False

    # The answer.

    def _pass_on(self, event: h11.InformationalResponse, credential: AddedCredential) -> None:
        is_asked = self._child.h11.they_are_waiting_for_100_continue
        if self._request.is_old or (event.status_code == _CONTINUE and not is_asked):
            return
        given = event.headers.raw_items()
        headers = heads.towards_child(given, credential.masked)
        passed = h11.InformationalResponse(status_code=event.status_code, headers=headers)
        self._child.send(passed, deadline=self._end())

    def _deliver(
        self, response: h11.Response | h11.InformationalResponse, credential: AddedCredential
    ) -> None:
        self.status = response.status_code
        given = response.headers.raw_items()
        headers = heads.towards_child(given, credential.masked)
        reason = heads.mask_whole(bytes(response.reason), credential.masked)
        if isinstance(response, h11.InformationalResponse):
            self._switch(headers, reason)
            return
        length = heads.content_length(given)
        if length is not None:
            headers.append((b"Content-Length", str(length).encode()))
        is_early = not self._body.is_done
        if is_early:
            headers.append((b"Connection", b"close"))
        head = h11.Response(status_code=response.status_code, headers=headers, reason=reason)
        self._child.send(head, deadline=self._end())
        uploading = self._start_upload() if is_early and not self._is_cut else None
        masker = Masker(credential.masked, keeps_length=True) if heads.is_readable(given) else None
        self._copy_answer(length, masker)
        if uploading is not None:
            uploading.join(0.1)
        if self._body.is_done:
            self._upstreams.give_back(self._taken)
        else:
            self._upstreams.close(self._taken.connection)

    def _copy_answer(self, length: int | None, masker: Masker | None) -> None:
        reader = BodyReader(self._taken.connection, length)
        writer = BodyWriter(self._child, length)
        mover = Mover(reader, writer) if masker is None else None
        try:
            while not reader.is_done:
                if reader.is_waiting and not self._wait_for_rest(writer, masker):
                    continue
                if mover is not None:
                    mover.move(self._end())
                elif masker is not None:
                    writer.write(masker.feed(reader.read(self._end())), self._end())
            if masker is not None:
                writer.write(masker.rest(), self._end())
            writer.end(self._end())
        except h11.RemoteProtocolError as error:
            raise GoneError from error
        finally:
            self.received = reader.count
            if mover is not None:
                mover.close()

    def _wait_for_rest(self, writer: BodyWriter, masker: Masker | None) -> bool:
        """Wait for more of the answer; return whether there is some."""
        is_holding = masker is not None and masker.is_holding
        is_there = self._first_ready(_SETTLE_MS if is_holding else None)
        if not is_there and is_holding and masker is not None:
            writer.write(masker.settle(), self._end())
        return is_there

    def _start_upload(self) -> threading.Thread:
        """Send the rest of the body from another thread, while the answer is on its way."""

        def upload() -> None:
            with suppress(GoneError, h11.ProtocolError):
                while not self._body.is_done and not self._is_cut:
                    self._send_piece()

        thread = threading.Thread(target=upload, daemon=True)
        thread.start()
        return thread

    # A WebSocket.

    def _switch(self, headers: heads.RawHeaders, reason: bytes) -> None:
        """Pass on an upgrade, and then bytes both ways until either side ends."""
        headers += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        head = h11.InformationalResponse(status_code=_SWITCHING, headers=headers, reason=reason)
        self._child.send(head, deadline=self._end())
        upstream = self._taken.connection
        early = self._child.h11.trailing_data[0]
        if early:
            upstream.send_bytes(early, self._end())
        late = upstream.h11.trailing_data[0]
        if late:
            self._child.send_bytes(late, self._end())
        back = threading.Thread(target=_copy_all, args=(upstream.sock, self._child.sock))
        for sock in (upstream.sock, self._child.sock):
            sock.settimeout(None)
        back.daemon = True
        back.start()
        _copy_all(self._child.sock, upstream.sock)
        back.join()
        self._upstreams.close(upstream)

    def _drop(self) -> None:
        taken = getattr(self, "_taken", None)
        if taken is not None:
            self._upstreams.close(taken.connection)

    @staticmethod
    def _end() -> float:
        return time.monotonic() + STALL_S


def _copy_all(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for sock in (source, target):
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


@contextmanager
def _upstream() -> Iterator[None]:
    """Tell what breaks towards the upstream from what breaks towards the child."""
    try:
        yield
    except GoneError as error:
        raise UpstreamError("the upstream has closed the connection") from error
    except h11.ProtocolError as error:
        raise UpstreamError("the upstream's answer is no HTTP that we read") from error
