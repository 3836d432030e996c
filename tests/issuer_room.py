"""An issuer of few words behind the real link: it issues, revokes and introspects as it is told."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from brokerctl.broker import Broker
from brokerctl.broker.issuer import IssuerClient, Senders
from brokerctl.broker.known_issuers import KnownIssuers
from brokerctl.broker.login import Login
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.config.plan import Plan
from brokerctl.errors import IssuerError
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.oauth.message import HttpRequest, HttpResponse
from brokerctl.oauth.steps import Send
from brokerctl.oauth.tokens import TokenAnswer
from brokerctl.platform.system import SYSTEM
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from tests.flows import form_of
from tests.store_room import RING, open_store

if TYPE_CHECKING:
    from brokerctl.model import AccessToken, Token
    from brokerctl.platform.system import System

URL = "https://issuer.example"
PERSON = Profile(
    name="p", issuer=URL, flow="code", client_id="app", scopes=("read", "write"), timeout_s=20
)
SERVICE = PERSON.replace(name="s", flow="client_credentials")
KEY = grant_key(PERSON)


class Issuer:
    """`alive` has what it honours. Each value is `rN-G` or `aN-G`: the Nth of its kind, of grant G.

    `is_family`: an access token that is revoked takes its grant along. `consent`: so does any token
    with all grants of the person. `knows`: whose activity introspection tells.
    """

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.sent: list[tuple[str, str]] = []  # (endpoint, what it was about)
        self.is_family = self.is_consent = self.is_down = False
        self.knows = "ra"
        self.revocation = 200
        self.deadlines: dict[str, float] = {}  # of the last request to each endpoint
        self.lost: set[str] = set()  # endpoints that carry a request out and never answer
        self.faults: list[
            BaseException | int
        ] = []  # of the next token requests: raised or answered
        self.expires_in: int | None = 3600
        self._count = 0

    def issue(self, grant: str, kind: str) -> str:
        """Return a new value."""
        self._count += 1
        value = f"{kind}{self._count}-{grant}"
        self.alive.add(value)
        return value

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer one request."""
        self.deadlines[request.url.rpartition("/")[2]] = deadline or 0
        if request.method == "GET":
            return self._answer(200, self._metadata())
        if self.is_down:
            raise IssuerError("the issuer is down")
        form = {name: values[0] for name, values in form_of(request).items()}
        endpoint = request.url.rpartition("/")[2]
        value = form.get("token") or form.get("refresh_token") or form["grant_type"]
        self.sent.append((endpoint, value))
        fault = self.faults.pop(0) if self.faults and endpoint == "token" else None
        if isinstance(fault, int):
            return self._answer(fault, {"error": "temporarily_unavailable"})
        answer: HttpResponse = getattr(self, f"_{endpoint}")(value)
        if fault is not None:
            raise fault
        if endpoint in self.lost:
            raise IssuerError(f"{endpoint} timed out")
        return answer

    @staticmethod
    def _metadata() -> dict[str, str]:
        names = {"token_endpoint": "token", "revocation_endpoint": "revoke"}
        names["introspection_endpoint"] = "introspect"
        return {"issuer": URL, **{name: f"{URL}/{path}" for name, path in names.items()}}

    @staticmethod
    def _answer(status: int, body: object) -> HttpResponse:
        return HttpResponse(status=status, body=json.dumps(body).encode(), sent_at=time.time())

    def _token(self, value: str) -> HttpResponse:
        if value == "client_credentials":
            return self._answer(200, self._body(self.issue("client", "a")))
        if value not in self.alive:
            return self._answer(400, {"error": "invalid_grant"})
        self.alive.discard(value)
        grant = value.partition("-")[2]
        more = {"refresh_token": self.issue(grant, "r")}
        return self._answer(200, self._body(self.issue(grant, "a")) | more)

    def _body(self, value: str) -> dict[str, Any]:
        return {"access_token": value, "token_type": "Bearer", "expires_in": self.expires_in}

    def _revoke(self, value: str) -> HttpResponse:
        if self.revocation != 200:
            return self._answer(self.revocation, {"error": "unsupported_token_type"})
        grant = value.partition("-")[2]
        is_whole = value in self.alive and (value[0] == "r" or self.is_family)
        if is_whole and self.is_consent:
            self.alive.clear()
        elif is_whole:
            self.alive = {one for one in self.alive if one.partition("-")[2] != grant}
        self.alive.discard(value)
        return self._answer(200, {})

    def _introspect(self, value: str) -> HttpResponse:
        is_active = value in self.alive and value[0] in self.knows
        return self._answer(200, {"active": is_active})


def make_client(store: Any, make: Any, environ: Any = None) -> IssuerClient:  # noqa: ANN401 - a store and a sender, or what stands for them
    """Make what talks to an issuer, with what this store knows of it."""
    return IssuerClient(KnownIssuers(store, RING), Senders(make, environ or {}))


class Log:
    """The record: what was appended, with each event's fields."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []

    def append(self, event: str, fields: dict[str, Any], *, durable: bool = False) -> int:
        """Remember one."""
        del durable
        self.records.append((event, fields))
        return len(self.records)

    def append_all(self, records: list[tuple[str, dict[str, Any]]]) -> None:
        """Remember several."""
        self.records += records

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the fields of the records of one event."""
        return [fields for name, fields in self.records if name == event]


class House:
    """One store with its issuer, log, and all that works on it; `open` is the next command's."""

    def __init__(self, folder: str, *profiles: Profile, system: System = SYSTEM) -> None:
        self.folder = folder
        self.profiles = {one.name: one for one in profiles or (PERSON, SERVICE)}
        self.issuer, self.log = Issuer(), Log()
        self.logins = 0
        self.open(system)

    def open(self, system: System = SYSTEM) -> None:
        """Open the store as a new process does."""
        self.store = open_store(self.folder, system)
        self.store.clock = time.time
        self.known = KnownIssuers(self.store, RING)
        self.link = make_client(self.store, lambda *_: self.issuer)
        log: Any = self.log
        self.redeemer = Redeemer(self.store, log, RING, self.link)
        self.revoker = Revoker(self.store, log, RING, self.link)
        plan = Plan(profiles=self.profiles)
        self.broker = Broker(plan, self.store, log, self.redeemer)

    def request(self, name: str = "p", **fields: Any) -> TokenRequest:  # noqa: ANN401 - of TokenRequest
        """Make the owner's request."""
        requester = Requester(uid=os.geteuid(), pid=1, session=fields.pop("session", None))
        return TokenRequest(profile=name, requester=requester, **fields)

    def get(self, name: str = "p", **fields: Any) -> AccessToken:  # noqa: ANN401 - as above
        """Get a token as any way in does."""
        return self.broker.get(self.request(name, **fields))

    def own(self, session: str, name: str = "p", **fields: Any) -> AccessToken:  # noqa: ANN401 - as above
        """Get a session's own token."""
        return self.get(name, session=session, is_own=True, **fields)

    def own_token(self, session: str) -> Token:
        """Get a session's own token as it is stored, the issuer being there for it."""
        is_down, self.issuer.is_down = self.issuer.is_down, False
        self.own(session)
        self.issuer.is_down = is_down
        return next(one for one in self.tokens() if one.session == session)

    def log_in(self) -> None:
        """Log a person in: a grant of its own at the issuer."""
        self.logins += 1
        log: Any = self.log
        login = Login(self.store, log, RING, self.link)
        login.log_in(self.profiles["p"], self.request(), self._run, self)

    def do(self, step: object) -> HttpResponse:
        """Carry out a step of the login."""
        assert isinstance(step, Send)
        return HttpResponse(status=200, body=b"{}")

    def _run(self, _steps: object, desk: Any) -> TokenAnswer:  # noqa: ANN401 - the guard
        desk.do(Send(request=HttpRequest(method="POST", url=f"{URL}/token")))
        grant = f"g{self.logins}"
        return TokenAnswer(
            access_token=Secret(self.issuer.issue(grant, "a")),
            token_type="Bearer",
            expires_in=3600,
            scopes=PERSON.scopes,
            refresh_token=Secret(self.issuer.issue(grant, "r")),
            sent_at=time.time(),
        )

    def tokens(self) -> list[Token]:
        """Return every access token of the person's grant that is listed."""
        with self.store.lock_grant(KEY, work_time() + 20) as locked:
            slots = locked.state.slots
        found = [one for slot in slots for one in (slot.current, *slot.superseded)]
        return [one for one in found if one is not None]
