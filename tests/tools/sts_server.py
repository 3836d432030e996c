"""moto's STS and S3 on loopback, behind a door that lets in who has a live token of the issuer's.

moto itself believes any web identity; the door asks the issuer. What a role's credentials are good
for is moto's to say: `sts get-caller-identity` names the role that they were issued for.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import parse_qs

from tests.emulations import session_policies
from tests.emulations.aws import WebIdentities
from tests.flows import sts_error
from tests.tools.clients import require_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.idp.issuer import OidcProvider

_START_S = 60.0
_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


class Assumed(NamedTuple):
    """One request for a role's credentials, and whether they were given."""

    role: str
    session: str
    duration: str | None
    policy: str | None
    is_given: bool


class Moto:
    """moto's server as a process, which takes seconds to start: `with Moto() as moto: …`."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = [require_client("moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        """Wait until it listens."""
        ends = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < ends, "moto did not start"
                time.sleep(0.1)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._process.terminate()
        self._process.wait()

    def reset(self) -> None:
        """Let it forget all that it holds."""
        url = f"http://127.0.0.1:{self.port}/moto-api/reset"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(url, method="POST"), timeout=30).close()


class Sts:
    """`with Sts(issuer, moto) as sts: … sts.url …`; `assumed` has each exchange.

    In the issuer's place may stand what a role's trust policy says of CI jobs: WebIdentities.

    `lifetime_s`: how long credentials live, in place of what was asked for; `code`: STS's error.
    """

    def __init__(self, issuer: OidcProvider | WebIdentities, moto: Moto) -> None:
        self.issuer = issuer
        self.assumed: list[Assumed] = []
        self.lifetime_s: float | None = None
        self.code: str | None = None
        self._port = moto.port
        self.s3 = f"http://127.0.0.1:{self._port}"  # a body in chunks goes there directly
        door = self

        class Handler(_Handler):
            sts = door

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        """Start to serve."""
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> _Reply:
        """Answer one request: moto's answer, but for a web identity that is not alive."""
        form = parse_qs(body.decode("utf-8", "replace")) if method == "POST" else {}
        if form.get("Action") != ["AssumeRoleWithWebIdentity"]:
            return self._ask_moto(method, path, headers, body)
        token = form.get("WebIdentityToken", [""])[0]
        said = {name: values[0] for name, values in form.items()}
        code = self._refusal(token) or session_policies.refusal(said)
        self.assumed.append(
            Assumed(
                said["RoleArn"],
                said["RoleSessionName"],
                said.get("DurationSeconds"),
                said.get("Policy"),
                code is None,
            )
        )
        if code:
            # STS repeats nothing of the token; one that did would find that we don't either.
            refused = sts_error(code, f"token {token}")
            return 400, [("Content-Type", "text/xml")], refused.body
        status, given, data = self._ask_moto(method, path, headers, body)
        if self.lifetime_s is not None:
            ends = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
            text = f"<Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
            data = re.sub(rb"<Expiration>[^<]*</Expiration>", text.encode(), data)
        return status, given, data

    def _refusal(self, token: str) -> str | None:
        if self.code:
            return self.code
        if isinstance(self.issuer, WebIdentities):
            return self.issuer.refusal(token)
        return None if self.issuer.use(token).status == 200 else "ExpiredTokenException"

    def _ask_moto(self, method: str, path: str, headers: dict[str, str], body: bytes) -> _Reply:
        url = f"http://127.0.0.1:{self._port}{path}"
        request = urllib.request.Request(url, body or None, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            answer = opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            kept = [item for item in answer.headers.items() if item[0].lower() not in _HOP]
            return answer.status, kept, answer.read()


if TYPE_CHECKING:
    _Reply = tuple[int, list[tuple[str, str]], bytes]


class _Handler(BaseHTTPRequestHandler):
    """Hands each request to the door."""

    sts: Sts
    protocol_version = "HTTP/1.0"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, data = self.sts.answer(
            self.command, self.path, dict(self.headers.items()), body
        )
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Serve every method alike; the handler looks for `do_GET` and its kind."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
