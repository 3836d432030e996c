"""What all emulated services have in common: threads, the requests they saw, and their faults.

A service of its own says what it answers; this says how it can go wrong on the way. `fault("html")`
makes every answer a web page until `fault(None)`; `fault("503", times=2)` ends by itself, and
`path="/token"` is for the paths that hold it. A redirect leads to the service's trap: another
origin, to which nothing may ever go; what came there is in `trapped`.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qsl

from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIB = 1 << 20
SILENCE_S = 40.0
_BACKLOG = 128  # processes that ask at once
_POLL_S = 0.05
_RESET = struct.pack("ii", 1, 0)


class Seen(NamedTuple):
    """One request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object, {} where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def bearer(self) -> str:
        """The token after `Authorization: Bearer`, whose scheme has no case (RFC 9110, 11.1)."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""


class Reply(NamedTuple):
    """What is answered; `how` is whole, silent (for `wait_s`, then whole) or reset."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    how: str = "whole"
    wait_s: float = 0.0


def as_json(body: object, status: int = 200, **headers: str) -> Reply:
    """Return a JSON answer; `Retry_After="1"` is a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = json.dumps(body).encode()
    return Reply(status, data, {"Content-Type": "application/json", **named})


def as_text(body: str, status: int = 200, kind: str = "text/plain") -> Reply:
    """Return a text."""
    return Reply(status, body.encode(), {"Content-Type": kind})


class _Fault(NamedTuple):
    name: str
    path: str
    seconds: float
    times: int


class Service:
    """A server on loopback, over http or, with a folder for the CA's files, over TLS."""

    own_faults: tuple[str, ...] = ()

    def __init__(self, tls_folder: str | None = None) -> None:
        self.seen: list[Seen] = []
        self.trapped: list[Seen] = []
        self.ca_file: str | None = None
        self._fault: _Fault | None = None
        self._guard = threading.Lock()
        self._context: ssl.SSLContext | None = None
        if tls_folder:
            files = make_tls(tls_folder)
            self.ca_file = files.ca_file
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(files.server_file)
        self._http = _listen(self._handle, self._context)
        self._trap = _listen(self._spring, self._context)
        scheme = "https" if tls_folder else "http"
        self.url = f"{scheme}://127.0.0.1:{self._http.server_port}"
        self.trap_url = f"{scheme}://127.0.0.1:{self._trap.server_port}"

    def __enter__(self) -> Self:
        """Start to serve."""
        for server in (self._http, self._trap):
            threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop."""
        for server in (self._http, self._trap):
            server.shutdown()
            server.server_close()

    def fault(
        self, name: str | None, *, path: str = "", seconds: float = SILENCE_S, times: int = -1
    ) -> None:
        """Answer wrongly from now on; a name of FAULTS, of the service's own, or a status."""
        known = name is None or name.isdigit() or name in {*FAULTS, *_MADE, *self.own_faults}
        assert known, f"no fault {name}"
        self._fault = _Fault(name, path, seconds, times) if name else None

    def count(self, path: str = "") -> int:
        """Return how many requests there were to the paths that hold this text."""
        return sum(path in request.path for request in self.seen)

    def forget(self) -> None:
        """Forget the requests seen, and every fault."""
        self.seen.clear()
        self.trapped.clear()
        self._fault = None

    def answer(self, request: Seen) -> Reply:
        """Return the answer as it should be."""
        raise NotImplementedError

    def answer_wrongly(self, request: Seen, fault: str) -> Reply:
        """Return the answer with a fault that is the service's own to show."""
        raise NotImplementedError

    def _handle(self, request: Seen) -> Reply:
        self.seen.append(request)
        fault = self._take_fault(request)
        if fault is None:
            return self.answer(request)
        if fault.name == "silence":
            return self.answer(request)._replace(how="silent", wait_s=fault.seconds)
        if fault.name == "redirect":
            return Reply(302, headers={"Location": f"{self.trap_url}{request.path}"})
        if fault.name in FAULTS:
            return FAULTS[fault.name]
        if fault.name.isdigit():
            return as_json({"error": "temporarily_unavailable"}, int(fault.name))
        return self.answer_wrongly(request, fault.name)

    def _take_fault(self, request: Seen) -> _Fault | None:
        with self._guard:
            fault = self._fault
            if fault is None or fault.path not in request.path or fault.times == 0:
                return None
            self._fault = fault._replace(times=fault.times - 1)
            return fault

    def _spring(self, request: Seen) -> Reply:
        self.trapped.append(request)
        return as_json({"error": "invalid_request"}, 400)


HTML = as_text("<!doctype html><title>Sign in</title>", kind="text/html")
_MADE = ("silence", "redirect")  # above
# The faults that any service can have.
FAULTS: dict[str, Reply] = {
    "html": HTML,
    "huge": as_json({"padding": "x" * MIB}),
    "empty": Reply(),
    "not json": as_text("nonsense"),
    "list": as_json(["value"]),
    "reset": Reply(how="reset"),
}


class _Server(ThreadingHTTPServer):
    request_queue_size = _BACKLOG
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above it
        """Say nothing: a client that hangs up is what some tests are about."""


def _listen(answer: Callable[[Seen], Reply], context: ssl.SSLContext | None) -> _Server:
    class Handler(_Handler):
        reply = staticmethod(answer)

    server = _Server(("127.0.0.1", 0), Handler)
    if context:
        wrapped = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.socket = wrapped
    return server


class _Handler(BaseHTTPRequestHandler):
    reply: Callable[[Seen], Reply]

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = dict(parse_qsl(query, keep_blank_values=True))
        seen = Seen(self.command, path, asked, headers, self.rfile.read(length))
        reply = type(self).reply(seen)
        if reply.how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif reply.how == "whole" or _is_patient(self.connection, reply.wait_s):
            self._send(reply)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _serve  # noqa: N815 - names of http.server

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def _is_patient(link: socket.socket, seconds: float) -> bool:
    """Wait; return whether the client is still there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ready, _, _ = select.select([link], [], [], _POLL_S)
        if ready:
            return False
    return True
