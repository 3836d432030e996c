"""A git server on loopback: git's own http-backend behind TLS, open to who has a live token."""

from __future__ import annotations

import base64
import os
import subprocess
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from tests.program import require_tool
from tests.tools.serving import Serving

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider

BASIC, BEARER = 'Basic realm="git"', 'Bearer realm="git"'


class GitServer(Serving):
    """Serves the bare repositories of a folder; `seen` has each request's user, and its status.

    It takes what its challenge names and nothing else; the user of a bearer is `bearer`.
    """

    def __init__(self, folder: str, issuer: OidcProvider, challenge: str = BASIC) -> None:
        self.challenge = challenge
        self.folder = folder
        self.issuer = issuer
        self.seen: list[tuple[str | None, int]] = []
        server = self

        class Handler(_Handler):
            git = server

        self.listen(Handler, folder)

    def make(self, name: str) -> str:
        """Make an empty bare repository and return its URL."""
        git = require_tool("git")
        path = os.path.join(self.folder, name)
        subprocess.run([git, "init", "-q", "--bare", "-b", "main", path], check=True)
        subprocess.run([git, "-C", path, "config", "http.receivepack", "true"], check=True)
        return f"{self.url}/{name}"

    def is_live(self, token: str) -> bool:
        """Ask the issuer's own resource, as a real server would ask for introspection."""
        return self.issuer.use(token).status == 200


class _Handler(BaseHTTPRequestHandler):
    """One request: who is it, then CGI (RFC 3875) to git's own program."""

    git: GitServer
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        """Serve a request without a body."""
        self._serve(b"")

    def do_POST(self) -> None:
        """Serve a request with a body, which git sends in chunks where it is long."""
        self._serve(self._body())

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _user(self) -> tuple[str | None, str]:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme != self.git.challenge.partition(" ")[0]:
            return None, ""
        if scheme == "Bearer":
            return "bearer", value
        user, _, token = base64.b64decode(value).decode().partition(":")
        return user, token

    def _serve(self, body: bytes) -> None:
        user, token = self._user()
        if user is None or not self.git.is_live(token):
            self.git.seen.append((user, 401))
            self.send_response(401)
            self.send_header("WWW-Authenticate", self.git.challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.git.seen.append((user, 200))
        path, _, query = self.path.partition("?")
        env = {
            "PATH": "/usr/bin:/bin",
            "GIT_PROJECT_ROOT": self.git.folder,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": user,
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(
            [require_tool("git"), "http-backend"],
            input=body,
            env=env,
            capture_output=True,
            check=False,
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n") if line]
        status = next((value for name, _, value in lines if name == "Status"), "200 OK")
        self.send_response(int(status[:3]))
        for name, _, value in lines:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
