"""The gateway: a base URL on loopback for each profile, to which the credential is added here.

The child asks `http://127.0.0.1:PORT/KEY/PROFILE/rest?query`; the rest goes to the profile's first
host that is no wildcard. The key is random, of one session and profile: whoever has it can use the
profile as the session may, so it is no secret from processes of the same user, who can read it in
the child's environment. The child never gets the token.
"""

from __future__ import annotations

import base64
import secrets
import socket
import threading

from brokerctl import output
from brokerctl.config.hosts import split_pattern
from brokerctl.errors import BrokerError, UsageError, shell_word
from brokerctl.model import NOT_BEARER, Value
from brokerctl.session.serve import DeskRequest
from brokerctl.session.serve.credentials import Credentials
from brokerctl.session.serve.forward import Forwarding, Route, UpstreamError
from brokerctl.session.serve.http import Limits, RequestError, SessionServer, error_reply
from brokerctl.session.serve.refusal import refusal
from brokerctl.session.serve.target import upstream_path
from brokerctl.session.serve.upstream import Upstreams
from brokerctl.session.serve.usage import REFUSED, UsageLog, Used, answer_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerctl.config.hosts import Url
    from brokerctl.model import Profile
    from brokerctl.session.serve import Desk
    from brokerctl.session.serve.credentials import AddedCredential
    from brokerctl.session.serve.http import HttpReply, ServedRequest
    from brokerctl.session.serve.upstream import Connect

VARIABLE = "BROKERCTL_GATEWAY_"
TOOL = "gateway"
_KEY_BYTES = 32
_BACKLOG = 512
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_CLOSE_S = 2.0
_NO_TRACE = "TRACE"  # its answer is the request itself (RFC 9110, section 9.3.8)


class Served(Value):
    """One profile of the gateway: its key, and the address that the rest of a path is put to."""

    name: str
    key: bytes
    base: Url


class Gateway:
    """Serves the profiles of one session."""

    def __init__(
        self,
        desk: Desk,
        profiles: Iterable[Profile],
        connect: Connect,
        limits: Limits | None = None,
    ) -> None:
        """Listen, and answer nobody before `start`; UsageError for a profile that can't be served.

        `connect` opens a connection to a URL's host, with its certificate checked.
        """
        self._desk = desk
        profiles = tuple(profiles)
        self._served = {one.name: _serve(one) for one in profiles}
        self._variables = _variables(self._served)
        self._credentials = {one.name: Credentials(desk, one.present) for one in profiles}
        limits = limits or Limits()
        self._upstreams = Upstreams(connect, limits)
        self._usage = UsageLog(desk.record, "gateway.used")
        self._listener = _listen()
        self._port = self._listener.getsockname()[1]
        self._host = "[::1]" if self._listener.family == socket.AF_INET6 else "127.0.0.1"
        self._server = SessionServer(self._listener, self._answer, limits=limits)
        self._nobody = _new_key()
        self._active = 0
        self._idle = threading.Condition()

    def variables(self) -> dict[str, str]:
        """Return the child's variables: a base URL for each profile."""
        origin = f"http://{self._host}:{self._port}"
        return {
            self._variables[one.name]: f"{origin}/{one.key.decode()}/{one.name}"
            for one in self._served.values()
        }

    def start(self) -> None:
        """Begin to answer; requests that came before have waited."""
        self._server.start()
        self._usage.start()

    def close(self) -> None:
        """Close everything and write the last records, or say that they can't be written."""
        self._server.close()
        self._upstreams.close_all()
        with self._idle:
            self._idle.wait_for(lambda: not self._active, _CLOSE_S)
        try:
            self._usage.close()
        except BrokerError as error:
            output.warn(f"what the gateway did last is not in the record: {error.message}")

    # One request.

    def _answer(self, request: ServedRequest) -> HttpReply | None:
        with self._idle:
            self._active += 1
        try:
            return self._forward(request)
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()

    def _forward(self, request: ServedRequest) -> HttpReply | None:
        served, rest = self._find(request)
        path, query = upstream_path(rest)
        url = served.base.replace(path=(served.base.path + path) or "/", query=query)
        use = Used(
            profile=served.name,
            method=request.method,
            origin=url.origin,
            path=path or "/",
            answer=REFUSED,
        )
        asked = DeskRequest(
            profile=served.name,
            url=url.origin + url.path,
            method=request.method,
            path=url.path,
            tool=TOOL,
        )
        try:
            first = self._credentials[served.name].get(asked)
        except BrokerError as error:
            self._usage.add(use)
            return refusal(error)
        name = served.name
        route = Route(profile=name, url=url, find_ca_file=lambda: self._desk.profile(name).ca_file)
        return self._send(Forwarding(request, route, self._upstreams), asked, first, use)

    def _send(
        self,
        sending: Forwarding,
        asked: DeskRequest,
        first: AddedCredential,
        use: Used,
    ) -> HttpReply | None:
        credentials = self._credentials[use.profile]
        try:
            sending.run(first, lambda refused: credentials.renew(asked, refused))
        except UpstreamError as error:
            return error_reply(502, error.text, "upstream", hint=error.hint)
        except BrokerError as error:  # no fresh token after a 401
            return refusal(error)
        finally:
            credentials.note(sending.credential, sending.status)
            answer = answer_class(sending.status or 502)
            self._usage.add(
                use.replace(answer=answer, sent=sending.sent, received=sending.received)
            )
        return None

    def _find(self, request: ServedRequest) -> tuple[Served, str]:
        """Return the profile that a target's key opens, and the rest; else 404 and no more."""
        self._check_host(request)
        _, key, rest = (*request.target.split("/", 2), "", "")[:3]
        name = rest.partition("/")[0].partition("?")[0]
        served = self._served.get(name)
        # Security: an unknown profile takes as long as a wrong key.
        is_right = secrets.compare_digest(key.encode(), served.key if served else self._nobody)
        if served is None or not is_right:
            raise RequestError(404, "not found")
        if request.method == _NO_TRACE:
            raise RequestError(405, "TRACE would show the credential")
        return served, rest[len(name) :]

    def _check_host(self, request: ServedRequest) -> None:
        """Refuse a name that is not ours: a page of the web may have pointed its own name here."""
        host = (request.header("host") or "").lower()
        if host and host not in {f"{self._host}:{self._port}", f"localhost:{self._port}"}:
            raise RequestError(421, "this is no server of that name")


def _serve(profile: Profile) -> Served:
    """Return how a profile is served; UsageError where it can't be."""
    if profile.traits.token_type == NOT_BEARER:
        raise UsageError(
            f"'{profile.name}' has credentials that sign requests, which the gateway does not do",
            hint=f"leave '{profile.name}' out of --gateway",
        )
    bases = [split_pattern(host) for host in profile.hosts]
    base = next((one for one in bases if not one.host.startswith("*.")), None)
    if base is None:
        raise UsageError(
            f"'{profile.name}' has no host that the gateway could lead to",
            hint=f"run 'brokerctl profile edit {shell_word(profile.name)} --set hosts=https://HOST'",
        )
    return Served(name=profile.name, key=_new_key(), base=base)


def _new_key() -> bytes:
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).rstrip(b"=")


def _variables(names: Iterable[str]) -> dict[str, str]:
    """Return the variable of each profile; UsageError where two profiles want the same."""
    owners: dict[str, str] = {}
    for name in names:
        variable = VARIABLE + "".join(char if char in _NAME else "_" for char in name.upper())
        if variable in owners:
            raise UsageError(
                f"'{owners[variable]}' and '{name}' both want {variable}",
                hint="give one of them another name",
            )
        owners[variable] = name
    return {name: variable for variable, name in owners.items()}


def _listen() -> socket.socket:
    """Return a socket that listens on an unused port of loopback."""
    try:
        return socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    except OSError:
        try:
            return socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=_BACKLOG)
        except OSError as error:
            raise BrokerError("no port of loopback can be listened on") from error
