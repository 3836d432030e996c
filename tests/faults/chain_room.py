"""A job whose identity goes over two issuers, with the real flows between a store and fakes.

The platform signs, `one` exchanges the identity for a grant made out to `two`, and `two` gives the
token. Each issuer remembers what it issued and has not revoked.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from brokerctl.broker import Broker
from brokerctl.broker.issuer import IssuerClient, Senders
from brokerctl.broker.known_issuers import KnownIssuers
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.broker.sources import SourceTokens
from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, Layers
from brokerctl.errors import BrokerError
from brokerctl.identity import find_job
from brokerctl.model import Requester, TokenRequest
from brokerctl.platform.system import SYSTEM
from tests.audit_log import OneByOne
from tests.faults.faulty import FaultySystem, Killed
from tests.flows import form_of
from tests.identities import GITHUB, jwt
from tests.store_room import RING, open_store, soon

if TYPE_CHECKING:
    from brokerctl.broker.request import DecidedRequest
    from brokerctl.broker.revoke import Ending
    from brokerctl.model import AccessToken, GrantKey, Reference, Token
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.platform.system import System
    from brokerctl.store.interface import LockedGrant

ONE, TWO = "https://one.example", "https://two.example"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
_ENDPOINTS = """
client_id = "cli"
token_endpoint = "{0}/token"
revocation_endpoint = "{0}/revoke"
"""
CHAIN = f"""
[profile.grant]
flow = "token_exchange"
issuer = "{ONE}"
identity = {{ github = true }}
exchange = {{ subject = "identity", requested_type = "{JWT}" }}
{_ENDPOINTS.format(ONE)}
[profile.deploy]
flow = "jwt_bearer"
issuer = "{TWO}"
exchange = {{ subject = {{ profile = "grant" }} }}
{_ENDPOINTS.format(TWO)}
"""
NAMES = ("grant", "deploy")


class Issuer:
    """Issues a token for each subject that it is shown, until it is told to do something else."""

    def __init__(self, url: str, kind: str) -> None:
        self.url, self.kind = url, kind
        self.alive: set[str] = set()
        self.asked: list[dict[str, str]] = []  # the forms of its token endpoint
        self.deadlines: list[float] = []  # of the same requests
        self.more: dict[str, Any] = {}  # of each answer
        self.value = ""  # of its tokens, if it is always the same
        self.faults: list[BaseException | int] = []  # of the next requests, each for one
        self.refusal = ""  # with which it refuses a grant that it has seen, or every one
        self.refuses_all = False
        self.is_lost = False  # it carries requests out, and its answers never come
        self.ends_with_refresh = True  # every access token (RFC 7009, section 2.1)
        self.is_down = False  # its revocation endpoint refuses

    def send(self, request: HttpRequest, deadline: float) -> HttpResponse:
        """Answer one request."""
        form = {name: values[0] for name, values in form_of(request).items()}
        if request.url.endswith("/revoke"):
            return self._revoke(request, form["token"])
        is_seen = form.get("assertion") in [one.get("assertion") for one in self.asked]
        self.asked.append(form)
        self.deadlines.append(deadline)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return answered(request, {"error": "temporarily_unavailable"}, fault)
        if fault is not None:
            raise fault
        if self.refusal and (is_seen or self.refuses_all):
            return answered(request, {"error": self.refusal}, 400)
        body: dict[str, Any] = {
            "token_type": "N_A" if self.kind == JWT else "Bearer",
            "expires_in": 3600,
        }
        body |= {"access_token": self._issue(), "issued_token_type": self.kind} | self.more
        if isinstance(body.get("refresh_token"), str):
            self.alive.add(body["refresh_token"])
        if self.is_lost:
            raise request.broke("the connection broke")
        return answered(request, body)

    def _issue(self) -> str:
        value = self.value or f"{self.url.partition('//')[2]}-{len(self.asked)}"
        self.alive.add(value)
        return value

    def _revoke(self, request: HttpRequest, value: str) -> HttpResponse:
        if self.is_down:
            return answered(request, {}, 503)
        self.alive.discard(value)
        if (
            value.startswith("refresh") and self.ends_with_refresh
        ):  # as many issuers do (RFC 7009, section 2.1)
            self.alive.clear()
        return answered(request, {})


def answered(request: HttpRequest, body: object, status: int = 200) -> HttpResponse:
    """Return an answer in JSON."""
    now, data = time.time(), json.dumps(body).encode()
    headers = (("content-type", "application/json"),)
    return request.answered(status=status, headers=headers, body=data, sent_at=now, received_at=now)


class Chain(OneByOne):
    """One home, its log and everything that it talks to; `open` is the next command's."""

    def __init__(self, folder: str, system: System = SYSTEM, text: str = CHAIN) -> None:
        self.folder = folder
        self.one, self.two = Issuer(ONE, JWT), Issuer(TWO, ACCESS)
        self.identities = 0
        self.fault: BaseException | int | None = None  # of the platform
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.environ = dict(GITHUB)
        layers = Layers(files=(Layer(label="user", path="/user.toml", content=text.encode()),))
        self.plan = compile_layers(layers, {"HOME": "/nowhere"})
        self.error: BaseException | None = None
        self.open(system)

    def open(self, system: System = SYSTEM) -> None:
        """Open the store as a new process does."""
        self.store = open_store(self.folder, system)
        self.store.clock = time.time
        log: Any = self
        self.broker = Broker(
            *(self.plan, self.store, log, self._redeem, ()),
            self,
        )

    def link(self) -> IssuerClient:
        """Return what talks to the issuers, as `Home` makes it."""
        senders = Senders(lambda *_: self, self.environ)
        known = KnownIssuers(self.store, RING)
        sources = SourceTokens(self.broker, RING)
        return IssuerClient(known, senders, sources=sources, within=self.broker.within)

    def find_job(self, source: Reference, /) -> Any:  # noqa: ANN401 - the Job that this is
        """Return the job that this is."""
        return find_job(source, self.environ)

    def find_rules(self, *_: object) -> Any:  # noqa: ANN401 - what a test's rules are
        """Return no rules."""
        return None

    def approval(self) -> Any:  # noqa: ANN401 - what no rule here needs
        """Raise AssertionError: no rule asks."""
        raise AssertionError("nobody is asked here")

    def store_of(self, _: object, /) -> Any:  # noqa: ANN401 - the store
        """Return the one store."""
        return self.store

    def _redeem(self, decided: DecidedRequest, locked: LockedGrant) -> Token:
        log: Any = self
        return Redeemer(self.store, log, RING, self.link())(decided, locked)

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Carry a request to whom it is for."""
        for issuer in (self.one, self.two):
            if request.url.startswith(issuer.url):
                return issuer.send(request, deadline or 0)
        self.identities += 1
        if isinstance(self.fault, BaseException):
            raise self.fault
        token = jwt(aud=ONE, jti=str(self.identities))
        return answered(request, {"value": token}, self.fault or 200)

    def append(self, event: str, fields: dict[str, Any], *, durable: bool = False) -> int:
        """Remember an event."""
        del durable
        self.records.append((event, fields))
        return len(self.records)

    def get(self, name: str = "deploy", **fields: Any) -> AccessToken:  # noqa: ANN401 - of TokenRequest
        """Get a token as any way in does."""
        requester = Requester(uid=os.geteuid(), pid=1, session=fields.pop("session", None))
        return self.broker.get(TokenRequest(profile=name, requester=requester, **fields))

    def try_get(self, name: str = "deploy", **fields: Any) -> AccessToken | None:  # noqa: ANN401 - as above
        """Get one; what goes wrong is remembered."""
        try:
            return self.get(name, **fields)
        except (BrokerError, Killed) as error:
            self.error = error
            return None

    def key(self, name: str = "deploy") -> GrantKey:
        """Return what names the grant of this job."""
        profile = self.plan.profiles[name]
        assert profile.job_source is not None
        return grant_key(profile, None, self.find_job(profile.job_source).id)

    def revoke(self, *names: str) -> list[Ending]:
        """Revoke as the command does, in a new process."""
        self.open(FaultySystem())
        log: Any = self
        revoker = Revoker(self.store, log, RING, self.link())
        found: list[Ending] = []
        for name in names or NAMES:
            found += revoker.revoke(self.plan.profiles[name], self.key(name))
        return found

    def retry(self, name: str) -> None:
        """Try again what is queued, as any command that asks an issuer does."""
        log: Any = self
        revoker = Revoker(self.store, log, RING, self.link())
        revoker.retry(self.plan.profiles[name], self.key(name))

    def revoke_session(self, session: str) -> None:
        """End what a session owns of the second issuer's."""
        log: Any = self
        revoker = Revoker(self.store, log, RING, self.link())
        revoker.revoke_session(self.plan.profiles["deploy"], self.key(), session)

    def has_intent(self, name: str) -> bool:
        """Return whether a request of an earlier process is not explained yet."""
        with open_store(self.folder).lock_grant(self.key(name), soon()) as locked:
            return locked.state.earlier_intent is not None

    def told(self) -> set[str | None]:
        """Return the fingerprints of what the record calls alive."""
        ends = ("local_only", "unknown")
        found = [fields for _, fields in self.records if fields.get("outcome") in ends]
        return {fields.get("fingerprint") for fields in found}

    def reasons(self, part: str) -> list[str]:
        """Return the profiles of the records whose reason has this part."""
        told = [(fields["profile"], fields.get("reason") or "") for _, fields in self.records]
        return [profile for profile, reason in told if part in reason]

    def is_told(self, value: str) -> bool:
        """Return whether the record calls this token alive."""
        return RING.fingerprint(value) in self.told()
