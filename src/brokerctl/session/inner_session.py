"""An `exec` inside a session: a session of its own in that one, which gets at most what that has.

The outer supervisor keeps it and decides its requests; here are only the child, its variables and
files, and a socket of its own, which passes on what is asked there. So the child of an inner
session never has the address of the outer one.
"""

from __future__ import annotations

from contextlib import suppress

from brokerctl import jsonlite, output
from brokerctl.config.paths import SOCKET_VARIABLE
from brokerctl.errors import BrokerError, not_in_this_version
from brokerctl.keys.making import new_ring
from brokerctl.model import Value
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.process import read_requester
from brokerctl.platform.system import SYSTEM
from brokerctl.session import SOCKET, Tools, environment, socket_client
from brokerctl.session.run import run
from brokerctl.session.serve import unix_socket
from brokerctl.session.serve.http import HttpReply, SessionServer, error_reply
from brokerctl.session.token_files import SOCKET_NAME
from brokerctl.store import find_store
from brokerctl.store.entry import plain_name
from brokerctl.store.file.memory import MemorySystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.model import AccessToken, TokenRequest
    from brokerctl.session import ExecRequest
    from brokerctl.session.cleanup import SessionEnd
    from brokerctl.session.serve.http import ServedRequest

_STDERR = 2
_BAD_GATEWAY = 502


def run_inner(ask: ExecRequest, environ: Mapping[str, str], umask: int | None = None) -> int:
    """Run one session in that of the socket; raises BrokerError before the child has started."""
    if set(ask.serves) - {SOCKET} or ask.aws is not None:
        option = "--gateway" if ask.aws is None else "--aws"
        raise not_in_this_version(f"'exec {option}' in a session")
    begun = socket_client.ask(environ, "POST", "/session", _terms(ask, environ))
    key = begun["key"]
    try:
        return run(ask, _tools(begun, environ, umask))
    finally:
        with suppress(BrokerError):  # the outer session has ended, and this one with it
            socket_client.ask(environ, "DELETE", f"{unix_socket.inner_path(key)}/session")


def _terms(ask: ExecRequest, environ: Mapping[str, str]) -> bytes:
    names = environment.names_of(ask, environ.get("BROKERCTL_PROFILE"))
    asked = {
        "profiles": list(names) or None,
        "scopes": ask.scopes,
        "resource": ask.resource,
        "audience": ask.audience,
        "max_ttl_s": ask.ttl_s,
        "uses": ask.uses,
        "rate": ask.rate,
        "hosts": ask.hosts,
        "agent": ask.agent,
        "purpose": ask.purpose,
        "command": ask.command[0],
    }
    given = {name: value for name, value in asked.items() if value is not None}
    lists = {name: list(value) for name, value in given.items() if isinstance(value, tuple)}
    return jsonlite.dumps({**given, **lists}).encode("ascii")


def _tools(begun: dict[str, Any], environ: Mapping[str, str], umask: int | None) -> Tools:
    """Return what the child needs from here; records and revocations are the outer session's."""
    ring = new_ring()
    services = _Services(path=environ[SOCKET_VARIABLE], key=begun["key"], folder="")
    tools = Tools(
        profiles=socket_client.profiles_of(begun["profiles"]),
        environ=environ,
        default_profile=environ.get("BROKERCTL_PROFILE"),
        requester=lambda session_id: read_requester(environ, "exec", session_id),
        get=services.get,
        revoke_own=lambda _id, _names: (),
        record=lambda _name, _fields: None,
        store=find_store("file")(MemorySystem().folder("memory"), ring),
        name_of=lambda session_id: plain_name(ring.name_key, "session", session_id),
        say=lambda line: output.write_line(_STDERR, line),
        warn=output.warn,
        system=SYSTEM,
        umask=umask,
        serve=lambda *asked: services.open(asked[-1]),
        open_again=lambda: tools,
    )
    return tools


class _Services(Value):
    """The inner session's own socket, and the way to the outer one."""

    path: str  # of the outer session's socket
    key: str
    folder: str
    server: SessionServer | None = None

    def open(self, ends: SessionEnd) -> _Services:
        """Return them with a socket in the session's own folder."""
        folder = ends.session.folder
        assert folder is not None  # noqa: S101 - a session with terms has one
        made = open_folder(folder, SYSTEM)
        assert made is not None  # noqa: S101 - it is made if missing
        made.close()
        server = SessionServer(unix_socket.listen(folder), self._pass_on, unix_socket.is_owners)
        return self.replace(folder=folder, server=server)

    def get(self, request: TokenRequest) -> AccessToken:
        """Return a token for the child's variables or files."""
        pairs = [("margin", "child")] if request.margin is not None else []
        if request.min_ttl_s is not None:
            pairs.append(("min_ttl", f"{-int(-request.min_ttl_s // 1)}s"))
        target = socket_client.token_target(request.profile, pairs)
        here = {SOCKET_VARIABLE: self.path}
        return socket_client.read_token(
            socket_client.ask(here, "GET", unix_socket.inner_path(self.key) + target)
        )

    def variables(self) -> Mapping[str, str]:
        """Return what tells the child where to ask."""
        return {SOCKET_VARIABLE: f"{self.folder}/{SOCKET_NAME}"}

    def start(self) -> None:
        """Begin to pass requests on."""
        assert self.server is not None  # noqa: S101 - `open` made it
        self.server.start()

    def close(self) -> bool:
        """Pass nothing on any more; what is on its way is the outer session's."""
        if self.server is not None:
            self.server.close()
        return True

    def _pass_on(self, asked: ServedRequest) -> HttpReply:
        """Pass one request on, as one of the inner session. Security: whatever path it names."""
        target = unix_socket.inner_path(self.key) + asked.target
        try:
            status, body = socket_client.exchange(
                self.path, asked.method, target, asked.read_body()
            )
        except BrokerError as error:
            return error_reply(_BAD_GATEWAY, error.message)
        headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
        return HttpReply(status=status, body=body, headers=headers)
