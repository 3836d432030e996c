"""What a session serves its child: opened before the child starts, closed before tokens end."""

from __future__ import annotations

import os

from brokerctl.config.paths import SOCKET_VARIABLE
from brokerctl.model import Value
from brokerctl.platform.private_files import open_folder
from brokerctl.session import GATEWAY, SOCKET
from brokerctl.session.cleanup import SessionEnd
from brokerctl.session.serve import DeskRequest, unix_socket
from brokerctl.session.serve.desk import Narrowing, SessionDesk, SessionTerms
from brokerctl.session.token_files import SOCKET_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.home import Home
    from brokerctl.model import AccessToken, TokenRequest
    from brokerctl.session import ExecRequest, Tools
    from brokerctl.session.serve.aws import AwsEndpoint
    from brokerctl.session.serve.gateway import Gateway
    from brokerctl.session.serve.unix_socket import ServedSocket

AGENT_TTL_S = 900.0  # of an agent's tokens, where nobody says it (contract, section 11)
# Who is being answered may wait for an issuer, and for another process that does so before.
_END_WAIT_S = 45.0


class SessionServices(Value):
    """The desk of a session, and the ways to it that its command line asks for."""

    desk: SessionDesk
    folder: str | None
    socket: ServedSocket | None = None
    gateway: Gateway | None = None
    aws: AwsEndpoint | None = None

    def get(self, request: TokenRequest) -> AccessToken:
        """Return a token for the child's variables or files, by the terms of the session."""
        asked = DeskRequest(
            profile=request.profile,
            min_ttl_s=request.min_ttl_s,
            margin=request.margin,
            tool="exec",
            pid=os.getppid(),
        )
        return self.desk.get(asked)

    def variables(self) -> Mapping[str, str]:
        """Return what tells the child where to ask."""
        found = {} if self.gateway is None else self.gateway.variables()
        found |= {} if self.aws is None else self.aws.variables()
        if self.socket is not None:
            found[SOCKET_VARIABLE] = f"{self.folder}/{SOCKET_NAME}"
        return found

    def start(self) -> None:
        """Begin to answer."""
        for one in (self.socket, self.gateway, self.aws):
            if one is not None:
                one.start()

    def close(self) -> bool:
        """Answer nothing any more; False where a token may be on its way all the same."""
        is_quiet = self.desk.close(_END_WAIT_S)
        for one in (self.socket, self.gateway, self.aws):
            if one is not None:
                one.close()
        return is_quiet


def open_services(
    home: Home,
    tools_of: Callable[[Home], Tools],
    ask: ExecRequest,
    session_id: str,
    own: tuple[str, ...],
    purpose: str | None,
    ends: SessionEnd,
) -> SessionServices:
    """Open them; StoreError or UsageError where that can't be."""
    tools = tools_of(home)
    terms = SessionTerms(
        id=session_id,
        profiles=ends.session.asked,
        own=own,
        subject=ask.subject,
        agent=ask.agent,
        purpose=purpose,
        narrowings=(_narrowing(ask, session_id),),
        is_kept=ask.is_own is False,
    )

    def make_end(inner: SessionTerms, command: str | None) -> SessionEnd:
        return SessionEnd(
            inner.id,
            inner.own,
            tools,
            has_files=False,
            asked=inner.profiles,
            agent=inner.agent,
            purpose=inner.purpose,
            command=command,
        )

    desk = SessionDesk(home, terms, ends, make_end, tools_of)
    services = SessionServices(desk=desk, folder=ends.session.folder)
    return _open_ways(home, tools, ask, services)


def _open_ways(
    home: Home, tools: Tools, ask: ExecRequest, services: SessionServices
) -> SessionServices:
    desk, folder = services.desk, services.folder
    if GATEWAY in ask.serves:
        from brokerctl.session.serve.gateway import Gateway  # noqa: PLC0415 - only where it is asked for

        profiles = [tools.profiles[name] for name in desk.terms.profiles]
        services = services.replace(gateway=Gateway(desk, profiles, home.dialer().connect))
    if ask.aws is not None and folder is not None:
        from brokerctl.session.serve.aws import AwsEndpoint  # noqa: PLC0415 - as above

        endpoint = AwsEndpoint(desk, tools.profiles[ask.aws], folder, tools.system)
        services = services.replace(aws=endpoint)
    if SOCKET in ask.serves and folder is not None:
        made = open_folder(folder, tools.system)
        assert made is not None  # noqa: S101 - it is made if missing
        made.close()
        services = services.replace(socket=unix_socket.open_socket(folder, desk))
    return services


def _narrowing(ask: ExecRequest, session_id: str) -> Narrowing:
    usual_s = None if ask.agent is None else AGENT_TTL_S
    return Narrowing(
        session=session_id,
        scopes=ask.scopes,
        resource=ask.resource,
        audience=ask.audience,
        max_ttl_s=usual_s if ask.ttl_s is None else ask.ttl_s,
        uses=ask.uses,
        rate=ask.rate,
        hosts=ask.hosts,
    )
