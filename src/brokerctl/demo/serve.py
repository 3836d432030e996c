"""The demo issuer as a process: a thin HTTP adapter on loopback, and a few knobs for tests.

`GET /__counts` says how many requests of each kind came, `POST /__reset` forgets everything, and
`POST /__mode` changes `Settings`, above all how the token endpoint behaves:
`{"token": "ok" | "hang" | "503" | "slow:MS"}`.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

from brokerctl.demo.issuer import Issuer, Request
from brokerctl.demo.pages import Reply, json_reply
from brokerctl.demo.state import Settings, State

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_BODY_BYTES = 65536
_READ_TIMEOUT_S = 30
_METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


class Server(ThreadingHTTPServer):
    """A server for many connections at once, on a loopback address or not at all."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: str, port: int, settings: Settings) -> None:
        # Security: everybody who reaches the issuer can log in as anybody.
        if not ipaddress.ip_address(address).is_loopback:
            raise ValueError(f"{address} is not a loopback address")
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Handler)
        host = f"[{address}]" if ":" in address else address
        self.host = f"{host}:{self.server_port}"
        self.state = State(settings)
        self.issuer = Issuer(f"http://{self.host}", self.state)

    def server_bind(self) -> None:
        """Bind without the look-up of our own name that the base class makes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about a client that went away; anything else is a bug and is shown."""
        if not isinstance(sys.exc_info()[1], (OSError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as it came

    def ready_line(self) -> str:
        """Return the one line of JSON that says where the issuer is and who may use it."""
        clients = [
            {
                "client_id": client.client_id,
                "client_secret": client.client_secret,
                "grant_types": list(client.grant_types),
            }
            for client in self.state.clients.values()
        ]
        return json.dumps({"issuer": self.issuer.url, "clients": clients})


class Handler(BaseHTTPRequestHandler):
    """One connection: checks the frame, then hands the request to the issuer."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout = _READ_TIMEOUT_S
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer("")

    def do_POST(self) -> None:
        """Answer a POST with a body of a sane size."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._send(json_reply({"error": "invalid_request"}, 413))
            return
        self._answer(self.rfile.read(int(length)).decode("utf-8", "replace"))

    def _answer(self, body: str) -> None:
        # Security: a name that resolves to loopback (DNS rebinding) is not our name.
        if self.headers.get("Host") != self.server.host:
            self._send(json_reply({"error": "invalid_request"}, 421))
            return
        path = self.path.partition("?")[0]
        if path.startswith("/__"):
            self._send(_control(self.server.state, self.command, path, body))
        else:
            self._send(self._route(path, body))

    def _route(self, path: str, body: str) -> Reply | None:
        issuer, state = self.server.issuer, self.server.state
        answer = _routes(issuer).get((self.command, path))
        if answer is None:
            return json_reply({"error": "not_found"}, 404)
        name, call = answer
        try:
            request = Request(
                self.command, issuer.url + self.path, dict(self.headers.items()), body
            )
            if path == "/token":
                state.count(request.payload.grant_type or "none")
                if (blocked := self._misbehave()) is not None:
                    return blocked
            else:
                state.count(name)
            with state.lock:
                return call(request)
        except ValueError:  # what Authlib does not expect in a request
            return json_reply({"error": "invalid_request"}, 400)

    def _misbehave(self) -> Reply | None:
        settings = self.server.state.settings
        while settings.token == "hang":
            time.sleep(0.02)
        if settings.token == "503":
            return Reply(503, "out of order\n", {"Content-Type": "text/plain"})
        if settings.token.startswith("slow:"):
            time.sleep(int(settings.token[5:]) / 1000)
        return None

    def _send(self, reply: Reply | None) -> None:
        if reply is None:
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: request lines hold codes."""


def _routes(issuer: Issuer) -> dict[tuple[str, str], tuple[str, Callable[[Request], Reply]]]:
    def endpoint(name: str) -> tuple[str, Callable[[Request], Reply]]:
        return name, lambda request: issuer.create_endpoint_response(name, request)  # type: ignore[no-untyped-call]  # no stub

    return {
        **{("GET", path): ("metadata", lambda _: issuer.metadata()) for path in _METADATA},
        ("GET", "/jwks"): ("jwks", lambda _: issuer.jwks()),
        ("GET", "/authorize"): ("authorize", issuer.authorize),
        ("POST", "/authorize"): ("consent", issuer.decide),
        ("GET", "/device"): ("device", issuer.device_page),
        ("POST", "/device"): ("device", issuer.device_page),
        ("POST", "/token"): (
            "token",
            lambda request: cast("Reply", issuer.create_token_response(request)),
        ),
        ("POST", "/device_authorization"): endpoint("device_authorization"),
        ("POST", "/revoke"): endpoint("revocation"),
        ("POST", "/introspect"): endpoint("introspection"),
    }


def _control(state: State, method: str, path: str, body: str) -> Reply:
    if (method, path) == ("GET", "/__counts"):
        with state.lock:
            return json_reply(state.counts)
    if (method, path) == ("POST", "/__reset"):
        state.reset()
        return json_reply({})
    if (method, path) == ("POST", "/__mode"):
        try:
            _change(state.settings, json.loads(body))
        except (ValueError, TypeError, AttributeError) as error:
            return json_reply({"error": str(error)}, 400)
        return json_reply(vars(state.settings))
    return json_reply({"error": "not_found"}, 404)


def _change(settings: Settings, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if type(value) is not type(getattr(settings, name)):
            raise ValueError(f"{name} has another type")
        if name == "token" and value not in {"ok", "hang", "503"}:
            int(value.removeprefix("slow:"))
    for name, value in changes.items():
        setattr(settings, name, value)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("brokerctl demo --serve", allow_abbrev=False)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--access-ttl", type=int, default=3600, metavar="SECONDS")
    parser.add_argument("--interval", type=int, default=5, metavar="SECONDS")
    parser.add_argument("--subject", default="alice")
    parser.add_argument("--auto-approve", action="store_true")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin is closed")
    return parser.parse_args(argv)


def serve(settings: Settings, address: str, port: int, *, until_eof: bool) -> None:
    """Serve until SIGINT or SIGTERM, or until stdin is closed; print the ready line first."""
    with Server(address, port, settings) as server:
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        if until_eof:
            threading.Thread(target=_wait_for_eof, args=(ended,), daemon=True).start()
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        sys.stdout.write(server.ready_line() + "\n")
        sys.stdout.flush()
        ended.wait()
        server.shutdown()


def _wait_for_eof(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    ended.set()


def main(argv: list[str] | None = None) -> int:
    """Run the issuer as `python -m brokerctl.demo.serve`; return the exit code."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    settings = Settings(
        access_ttl=options.access_ttl,
        interval=options.interval,
        subject=options.subject,
        auto_approve=options.auto_approve,
    )
    try:
        serve(settings, options.address, options.port, until_eof=options.until_eof)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"brokerctl: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
