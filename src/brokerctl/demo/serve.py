"""The demo issuer as a process: a thin HTTP adapter on loopback; control.py has its settings."""

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
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from brokerctl.demo.control import Control
from brokerctl.demo.issuer import Issuer, Request
from brokerctl.demo.pages import Reply, json_reply
from brokerctl.demo.state import Settings, State

Routes = dict[tuple[str, str], tuple[str | None, Callable[[Request], Reply]]]
_MAX_BODY_BYTES = 65536
_READ_TIMEOUT_S = 30
_METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


class Server(ThreadingHTTPServer):
    """A threading server; ValueError for an address that is not loopback."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: str, port: int, settings: Settings) -> None:
        # Security: everybody who reaches this issuer can log in as anybody.
        if not ipaddress.ip_address(address).is_loopback:
            raise ValueError(f"{address} is not a loopback address")
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Handler)
        host = f"[{address}]" if ":" in address else address
        self.host = f"{host}:{self.server_port}"
        self.state = State(settings)
        self.control = Control(self.state)
        self.issuer = Issuer(f"http://{self.host}", self.state)
        self.routes = _routes(self.issuer)

    def server_bind(self) -> None:
        """Bind without the base class's look-up of our host name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that disconnected; print any other error, which is a bug."""
        if not isinstance(sys.exc_info()[1], (OSError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as it came

    def ready_line(self) -> str:
        """Return the one line of JSON that says where the issuer is and who may use it."""
        clients = self.state.clients.values()
        secrets = {client.client_id: client.client_secret for client in clients}
        return json.dumps({"issuer": self.issuer.url, "clients": secrets})


class Handler(BaseHTTPRequestHandler):
    """One connection: checks the HTTP request, then calls the issuer."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout = _READ_TIMEOUT_S
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer("")

    def do_POST(self) -> None:
        """Answer a POST, if its body is not too large."""
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
        if self.path.startswith("/__"):
            headers = dict(self.headers.items())
            self._send(self.server.control.answer(self.command, self.path, body, headers))
            return
        path = self.path.partition("?")[0]
        self.server.control.count("paths", path)
        endpoint, call = self.server.routes.get((self.command, path), (None, _not_found))
        try:
            headers = dict(self.headers.items())
            request = Request(self.command, self.server.issuer.url + self.path, headers, body)
        except ValueError:  # too many parameters
            self._send(json_reply({"error": "invalid_request"}, 400))
            return
        grant_type = request.payload.grant_type or ""
        if endpoint == "token":
            self.server.control.count("grants", grant_type)
        reply = self._behave(endpoint, call, request)
        if endpoint == "token" and reply is not None and reply.status == HTTPStatus.OK:
            self.server.control.count("issued", grant_type)
        self._send(reply)

    def _behave(
        self, endpoint: str | None, call: Callable[[Request], Reply], request: Request
    ) -> Reply | None:
        """Let the issuer answer, or misbehave as a test wants; None breaks the connection."""
        word, changed = self.server.control.take_mode(endpoint)
        if word == "hang":
            changed.wait()
            return None
        if word == "held":
            changed.wait()
        if word.isdecimal():
            return json_reply({"error": "temporarily_unavailable"}, int(word))
        if word.startswith("slow:"):
            time.sleep(int(word[5:]) / 1000)
        try:
            with self.server.state.lock:
                reply = call(request)
        except ValueError:  # a request that Authlib does not handle
            reply = json_reply({"error": "invalid_request"}, 400)
        return None if word == "lost" else reply

    def _send(self, reply: Reply | None) -> None:
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: request lines hold codes."""


def _not_found(_: Request) -> Reply:
    return json_reply({"error": "not_found"}, 404)


def _routes(issuer: Issuer) -> Routes:
    """Return (name of the endpoint in modes, function) by (method, path)."""

    def endpoint(name: str) -> Callable[[Request], Reply]:
        return lambda request: issuer.create_endpoint_response(name, request)  # type: ignore[no-untyped-call]  # no stub

    return {
        **{("GET", path): ("metadata", lambda _: issuer.metadata()) for path in _METADATA},
        ("GET", "/jwks"): (None, lambda _: issuer.jwks()),
        ("GET", "/auth"): (None, issuer.authorize),
        ("POST", "/auth"): (None, issuer.decide),
        ("GET", "/device"): (None, issuer.device_page),
        ("POST", "/device"): (None, issuer.device_page),
        ("POST", "/device/auth"): ("device", endpoint("device_authorization")),
        ("POST", "/token"): ("token", cast("Any", issuer.create_token_response)),
        ("POST", "/token/revocation"): ("revocation", endpoint("revocation")),
        ("POST", "/token/introspection"): ("introspection", endpoint("introspection")),
    }


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m brokerctl.demo.serve", allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-eof", action="store_true", help="end when stdin is closed")
    for name, default in vars(Settings()).items():
        switch = "--" + name.replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(switch, action="store_true")
        else:
            parser.add_argument(switch, type=type(default), default=default)
    return parser.parse_args(argv)


def serve(settings: Settings, host: str, port: int, *, until_eof: bool) -> None:
    """Serve until SIGINT or SIGTERM, or until stdin is closed; print the ready line first.

    Raises ValueError for an address that is not loopback, OSError for one that is taken.
    """
    with Server(host, port, settings) as server:
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
    settings = Settings(**{name: getattr(options, name) for name in vars(Settings())})
    try:
        serve(settings, options.host, options.port, until_eof=options.until_eof)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"brokerctl: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
