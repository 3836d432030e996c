"""What the tests of a session's socket share: a session that is held open, and clients of it."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.program import Program

WAIT_S = 60.0


class SocketAnswer(NamedTuple):
    """Status, JSON and headers of an answer."""

    status: int
    json: Any
    headers: dict[str, str]

    @property
    def token(self) -> str:
        """The token of an answer that has one."""
        assert self.status == 200, self
        return str(self.json["access_token"])

    @property
    def problem(self) -> tuple[int, int, str]:
        """Status, exit code and name of an error."""
        return self.status, self.json["error"]["code"], self.json["error"]["name"]


class UnixConnection(http.client.HTTPConnection):
    """Python's own HTTP client over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("session", timeout=WAIT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class HeldSession:
    """A session whose child waits for the end of its stdin."""

    def __init__(
        self, program: Program, *words: str, env: Mapping[str, str | None] | None = None
    ) -> None:
        script = 'echo "$BROKERCTL_SOCKET"; cat >/dev/null'
        self.process = program.start("exec", *words, "--", "sh", "-c", script, env=env)
        assert self.process.stdout is not None
        self.path = self.process.stdout.readline().strip()

    def __enter__(self) -> Self:
        """Return the session, which runs."""
        assert self.path, self.process.communicate(timeout=WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.end()

    def end(self) -> tuple[int, str]:
        """Let the child end; return the supervisor's exit code and what it said."""
        _, stderr = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, stderr

    def ask(self, target: str, method: str = "GET", body: bytes | None = None) -> SocketAnswer:
        """Send one request, and return the answer."""
        return ask(self.path, target, method, body)

    def token(self, name: str = "service", query: str = "") -> str:
        """Return a token."""
        return self.ask(f"/token/{name}{query}").token


def ask(path: str, target: str, method: str = "GET", body: bytes | None = None) -> SocketAnswer:
    """Send one request to a socket, and return the answer."""
    link = UnixConnection(path)
    try:
        link.request(method, target, body)
        reply = link.getresponse()
        return SocketAnswer(reply.status, json.loads(reply.read()), dict(reply.getheaders()))
    finally:
        link.close()


def raw(path: str, data: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(WAIT_S)
        link.connect(path)
        found = b""
        try:
            link.sendall(data)
            while piece := link.recv(65536):
                found += piece
        except (BrokenPipeError, ConnectionResetError):
            pass
        return found


def ask_as(uid: int, path: str, target: str) -> int:
    """Ask as another user, who may reach the socket; return the status, 0 where it can't."""
    for folder in (os.path.dirname(path), path):
        os.chmod(folder, 0o777)  # noqa: S103 - so that only the peer is in question
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            os.setgid(uid)
            os.setuid(uid)
            status = ask(path, target).status
        finally:
            os.write(writer, str(status).encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as told:
        return int(told.read() or 0)
