"""What the tests of the gateway share: an upstream that does as told, a desk, and a raw client."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Self

import h11

from brokerctl.effects.dial import Dialer
from brokerctl.errors import SessionEndedError
from brokerctl.model import AccessToken, Profile
from brokerctl.secret import Secret
from brokerctl.session.serve.desk import unknown
from brokerctl.session.serve.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerctl.errors import BrokerError
    from brokerctl.session.serve import DeskRequest
    from brokerctl.session.serve.http import Limits

WAIT_S = 60.0  # of a busy machine: it ends what hangs, and judges nothing
TOKEN = "gw-token/one+with=odd~chars-0001"


def profile(name: str = "api", **more: Any) -> Profile:  # noqa: ANN401 - its fields
    """Return a profile of the gateway's tests."""
    fixed = {"issuer": "https://issuer.test", "flow": "client_credentials", "client_id": "c"}
    return Profile(**{"name": name, **fixed, **more})


class FakeDesk:
    """Hands out tokens that are numbered, and notes what was asked and recorded."""

    def __init__(self, *profiles: Profile) -> None:
        self.profiles = {one.name: one for one in profiles}
        self.asked: list[DeskRequest] = []
        self.records: list[tuple[str, dict[str, object]]] = []
        self.is_ended = False
        self.error: BrokerError | None = None  # of `get`
        self.record_error: BrokerError | None = None
        self.number = 1
        self.is_stubborn = False  # a fresh token is the one before
        self._lock = threading.Lock()

    def token(self, number: int | None = None) -> str:
        """Return a token's value."""
        return f"{TOKEN}{self.number if number is None else number}"

    def get(self, asked: DeskRequest) -> AccessToken:
        """Return the token of now, or the next if it must be fresh."""
        with self._lock:
            self.asked.append(asked)
            if self.is_ended:
                raise SessionEndedError("this session has ended")
            if self.error is not None:
                raise self.error
            self.number += asked.is_fresh and not self.is_stubborn
            return AccessToken(
                value=Secret(self.token()),
                token_type="Bearer",
                expires_at=None,
                scopes=(),
                profile=asked.profile,
                issuer="https://issuer.test",
                subject=None,
                resource=(),
                fingerprint=f"{self.number:032x}",
                source="cache",
            )

    def profile(self, name: str) -> Profile:
        """Return a profile of the session."""
        if name not in self.profiles:
            raise unknown(name)
        return self.profiles[name]

    def record(self, name: str, fields: dict[str, object]) -> None:
        """Note a record."""
        if self.record_error is not None:
            raise self.record_error
        self.records.append((name, fields))

    @property
    def fresh(self) -> int:
        """How many fresh tokens were asked for."""
        return sum(one.is_fresh for one in self.asked)


class Asking:
    """A request as the upstream got it, and the socket to answer on."""

    def __init__(self, sock: socket.socket, protocol: h11.Connection, head: h11.Request) -> None:
        self.sock = sock
        self.protocol = protocol
        self.method = head.method.decode()
        self.target = head.target.decode()
        self.raw = head.headers.raw_items()
        self.headers = {k.decode(): v.decode() for k, v in head.headers}

    def events(self) -> Iterator[Any]:
        """Yield what h11 reads until the end of the message, or of the connection."""
        while True:
            event = self.protocol.next_event()
            if event is h11.NEED_DATA:
                self.protocol.receive_data(self.sock.recv(1 << 16))
                continue
            yield event
            if not isinstance(event, h11.Data):
                return

    def body(self) -> bytes:
        """Read the whole body."""
        return b"".join(bytes(one.data) for one in self.events() if isinstance(one, h11.Data))

    def send(self, *events: h11.Event) -> None:
        """Send events."""
        for event in events:
            self.sock.sendall(self.protocol.send(event) or b"")

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; in a header's name `_` is `-`."""
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        head = h11.Response(
            status_code=status, headers=[*named, ("Content-Length", str(len(body)))]
        )
        self.send(head, *([h11.Data(data=body)] if body else []), h11.EndOfMessage())


class Upstream:
    """A server on loopback whose answers are a function's."""

    def __init__(self, answer: Callable[[Asking], None], tls_file: str | None = None) -> None:
        self.answer = answer
        self.connections = 0
        self.seen: list[Asking] = []
        self._tls = None
        if tls_file is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls_file)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        scheme = "http" if tls_file is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, h11.ProtocolError), sock:
            sock.settimeout(WAIT_S)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with sock:
                while self._serve_one(sock):
                    pass

    def _serve_one(self, sock: socket.socket) -> bool:
        protocol = h11.Connection(h11.SERVER)
        while (event := protocol.next_event()) is h11.NEED_DATA:
            protocol.receive_data(sock.recv(1 << 16))
        if not isinstance(event, h11.Request):
            return False
        asking = Asking(sock, protocol, event)
        self.seen.append(asking)
        self.answer(asking)
        return protocol.our_state is h11.DONE and protocol.their_state is h11.DONE


class Answer:
    """A whole answer as the raw client read it."""

    def __init__(self, head: h11.Response, body: bytes, early: list[Any]) -> None:
        self.status: int = head.status_code
        self.raw = head.headers.raw_items()
        self.headers = {k.decode(): v.decode() for k, v in head.headers}
        self.reason: bytes = head.reason
        self.body = body
        self.early = early


class Client:
    """A connection to the gateway that says exactly what a test says."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self._left = b""

    def send(self, text: str | bytes) -> None:
        """Send text as it is."""
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def read(self, method: str = "GET") -> Answer:
        """Read one answer."""
        protocol = h11.Connection(h11.CLIENT)
        protocol.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        protocol.send(h11.EndOfMessage())
        protocol.receive_data(self._left) if self._left else None
        head: h11.Response | None = None
        body, early = b"", []
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(self.sock.recv(1 << 16))
            elif isinstance(event, h11.InformationalResponse):
                early.append(event)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert head is not None
                self._left = protocol.trailing_data[0]
                return Answer(head, body, early)

    def is_closed(self) -> bool:
        """Read to the end, and return whether it came."""
        with contextlib.suppress(ConnectionResetError):
            while self.sock.recv(1 << 16):
                pass
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class Room:
    """A gateway before an upstream, and its desk."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        path: str = "",
        limits: Limits | None = None,
        **more: Any,  # noqa: ANN401 - a profile's fields
    ) -> None:
        self.upstream = upstream
        self.profile = profile(hosts=(upstream.url + path,), **more)
        self.desk = FakeDesk(self.profile)
        self.gateway = Gateway(self.desk, [self.profile], Dialer({}).connect, limits)
        self.gateway.start()
        self.base = self.gateway.variables()["BROKERCTL_GATEWAY_API"]
        self.port = int(self.base.split(":")[2].split("/")[0])
        self.prefix = "/" + self.base.split("/", 3)[3]

    def client(self) -> Client:
        """Return a new connection."""
        return Client(self.port)

    def head(self, method: str, path: str, *headers: str) -> str:
        """Return a request's head."""
        lines = [f"{method} {self.prefix}{path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        return "\r\n".join([*lines, *headers, "", ""])

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
        """Send one request and return its answer."""
        if body:
            headers = (*headers, f"Content-Length: {len(body)}")
        with self.client() as client:
            client.send(self.head(method, path, *headers).encode() + body)
            return client.read(method)


@contextlib.contextmanager
def gateway_room(
    answer: Callable[[Asking], None],
    tls_file: str | None = None,
    **more: Any,  # noqa: ANN401 - as Room
) -> Iterator[Room]:
    """Yield a room and close it."""
    upstream = Upstream(answer, tls_file)
    room = Room(upstream, **more)
    try:
        yield room
    finally:
        room.gateway.close()
        upstream.close()
