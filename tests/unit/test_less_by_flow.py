"""A request for less, by each flow: met by which way, refused, or handed out with a warning.

The issuers have opposite habits: one narrows, one gives the whole whatever is asked for, one says
no scope at all, which means as asked (RFC 6749, section 5.1).
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from brokerctl.broker import Broker
from brokerctl.broker.issuer import IssuerClient, Senders
from brokerctl.broker.known_issuers import KnownIssuers
from brokerctl.broker.redeem import Redeemer
from brokerctl.errors import DeniedError
from brokerctl.model import FLOWS, AccessToken, Requester, TokenRequest
from brokerctl.oauth.flows.aws_web_identity import AwsWebIdentity
from brokerctl.oauth.tokens import ACCESS_TOKEN
from tests.flows import app_key, form_of, json_of, sts_answer
from tests.issuer_room import PERSON, Log
from tests.narrowing_issuer import IGNORES, NARROWS, SILENT, NarrowingHouse, NarrowingIssuer
from tests.store_room import RING, open_store
from tests.unit.test_config_aws import compiled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerctl.oauth.message import HttpRequest, HttpResponse

URL = "https://issuer.example"
HABITS = (NARROWS, IGNORES, SILENT)
WORDS = ("scope", "resource", "audience")
TWO = '["https://a.example", "https://b.example"]'
CLIENT = f"""
issuer = "{URL}"
client_id = "app"
token_endpoint = "{URL}/token"
scopes = ["read", "write"]
"""
SUBJECT = 'exchange = {{ subject = {{ file = "{file}" }} }}\n'
POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/own"
ROLE = "arn:aws:iam::123456789012:role/deploy"
# What stands in a profile of each flow beside its name.
PROFILES = {
    "client_credentials": CLIENT + f'resource = {TWO}\nclient_secret = {{{{ env = "X" }}}}\n',
    "token_exchange": CLIENT + f'resource = {TWO}\naudience = ["a", "b"]\n' + SUBJECT,
    "jwt_bearer": CLIENT + f"resource = {TWO}\n" + SUBJECT,
    "aws_web_identity": f'aws = {{{{ role = "{ROLE}" }}}}\n' + SUBJECT,
    "google_workload": f'scopes = ["read", "write"]\ngoogle = {{{{ pool = "{POOL}" }}}}\n'
    + SUBJECT,
    "azure_workload": 'azure = {{ tenant = "t.example" }}\nclient_id = "app"\n'
    'scopes = ["https://vault.azure.net/.default"]\n' + SUBJECT,
    "publish": 'publish = {{ kind = "cargo" }}\n' + SUBJECT,
    "github_app": "github_app = {{ app = 'x', installation = 1, repositories = ['a', 'b'],"
    " permissions = {{ contents = 'write' }} }}\nclient_key = {{ file = '{key}' }}\n",
}


class Less(NamedTuple):
    """What is asked for, and what the request to the issuer then says of it."""

    asked: dict[str, tuple[str, ...]]
    sent: Callable[[HttpRequest], object]
    is_said: bool = True  # the issuer's answer says what was granted of it


def _form(name: str, value: str) -> Callable[[HttpRequest], object]:
    return lambda request: form_of(request).get(name) == [value]


READ = Less({"scopes": ("read",)}, _form("scope", "read"))
ONE = Less(
    {"resource": ("https://a.example",)}, _form("resource", "https://a.example"), is_said=False
)
TO_A = Less({"audience": ("a",)}, _form("audience", "a"), is_said=False)
LEVEL = Less(
    {"scopes": ("contents:read", "repo:a")},
    lambda request: (
        json_of(request) == {"repositories": ["a"], "permissions": {"contents": "read"}}
    ),
)
GET = Less({"scopes": ("s3:Get*",)}, lambda request: "NotAction" in form_of(request)["Policy"][0])
BUCKET = Less(
    {"resource": ("arn:aws:s3:::shop/*",)},
    lambda request: "NotResource" in form_of(request)["Policy"][0],
)
# By flow: how a narrower scope, resource and audience are met; None: refused, and nobody is asked.
WAYS: dict[str, tuple[Less | None, Less | None, Less | None]] = {
    "code": (READ, ONE, None),
    "device": (READ, ONE, None),
    "client_credentials": (READ, ONE, None),
    "token_exchange": (READ, ONE, TO_A),
    "jwt_bearer": (READ, ONE, None),
    "aws_web_identity": (GET, BUCKET, None),
    "google_workload": (READ, None, None),
    "azure_workload": (None, None, None),
    "publish": (None, None, None),
    "github_app": (LEVEL, None, None),
}
ROWS = [(flow, word, less) for flow in WAYS for word, less in zip(WORDS, WAYS[flow], strict=True)]
MET = [pytest.param(flow, less, id=f"{flow} {word}") for flow, word, less in ROWS if less]
NOT_MET = [pytest.param(flow, word, id=f"{flow} {word}") for flow, word, less in ROWS if not less]
ASKED = {"scope": "scopes", "resource": "resource", "audience": "audience"}


def test_every_flow_is_here() -> None:
    """A new one says how it meets a request for less."""
    assert WAYS.keys() == FLOWS.keys()


class Client:
    """A flow without a person, the issuer's habit, and what was sent to it."""

    def __init__(self, tmp_path: Path, flow: str, habit: str, *, allow: bool | None) -> None:
        self.habit, self.flow = habit, flow
        self.requests: list[HttpRequest] = []
        files = {"file": tmp_path / "subject", "key": tmp_path / "key.pem"}
        for path, text in zip(files.values(), ("web.identity", app_key()), strict=True):
            path.write_text(text)
            path.chmod(0o600)
        text = f'[profile.p]\nflow = "{flow}"\n' + PROFILES[flow].format(**files)
        if allow is not None:
            text += f"allow_broader = {str(allow).lower()}\n"
        self.log = Log()
        log: Any = self.log
        self.store = open_store(str(tmp_path / "store"))
        self.store.clock = time.time
        link = IssuerClient(
            KnownIssuers(self.store, RING), Senders(lambda *_: self, {"X": "secret"})
        )
        redeem = Redeemer(self.store, log, RING, link)
        self.broker = Broker(compiled(text), self.store, log, redeem)

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer as the flow's issuer does."""
        del deadline
        self.requests.append(request)
        if FLOWS[self.flow].has_session_policy:
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            body = sts_answer(Expiration=ends).body
        elif FLOWS[self.flow].has_levels:
            body = json.dumps(self._installation(json_of(request))).encode()
        else:
            body = json.dumps(self._issued(form_of(request))).encode()
        now = time.time()
        return request.answered(status=200, headers=(), body=body, sent_at=now, received_at=now)

    def _issued(self, form: dict[str, list[str]]) -> dict[str, Any]:
        given = {"access_token": "a-1", "token_type": "Bearer", "expires_in": 3600}
        if "subject_token" in form:
            given["issued_token_type"] = ACCESS_TOKEN
        asked = form.get("scope", [""])[0]
        said = {NARROWS: {"scope": asked}, IGNORES: {"scope": "read write"}, SILENT: {}}
        return given | said[self.habit]

    def _installation(self, asked: dict[str, Any]) -> dict[str, Any]:
        whole = {"repositories": ["a", "b"], "permissions": {"contents": "write"}}
        found = whole if self.habit == IGNORES else asked
        given = {"token": "a-1", "expires_at": "2099-01-01T00:00:00Z"}
        if self.habit == SILENT:
            return given | {"repository_selection": "selected"}
        names = [{"name": name} for name in found["repositories"]]
        permissions = {"permissions": found["permissions"], "repositories": names}
        return given | permissions | {"repository_selection": "selected"}

    def get(self, **asked: Any) -> AccessToken:  # noqa: ANN401 - of TokenRequest
        """Get a token as any way in does."""
        requester = Requester(uid=os.geteuid(), pid=1)
        return self.broker.get(TokenRequest(profile="p", requester=requester, **asked))


class Person(NarrowingHouse):
    """A flow with a person, at an issuer that knows no exchange, or knows it with this habit."""

    def __init__(
        self, tmp_path: Path, flow: str, habit: str, *, allow: bool | None, exchanges: bool
    ) -> None:
        issuer = NarrowingIssuer(exchange=habit, refresh=habit)
        issuer.knows_exchange = exchanges
        profile = PERSON.replace(
            flow=flow, allow_broader=allow, resource=("https://a.example", "https://b.example")
        )
        super().__init__(str(tmp_path / "store"), issuer, profile)
        self.requests: list[HttpRequest] = []
        send = issuer.send

        def watched(request: HttpRequest, deadline: float | None = None) -> HttpResponse:
            if request.url.endswith("/token"):
                self.requests.append(request)
            return send(request, deadline)

        issuer.send = watched  # type: ignore[method-assign]  # as above, and looked at


def world(
    tmp_path: Path, flow: str, habit: str, *, allow: bool | None = None, exchanges: bool = False
) -> Any:  # noqa: ANN401 - Client or Person, which are used alike
    """Return who asks by this flow."""
    if FLOWS[flow].needs_person:
        return Person(tmp_path, flow, habit, allow=allow, exchanges=exchanges)
    return Client(tmp_path, flow, habit, allow=allow)


def can_be_broader(flow: str, less: Less) -> bool:
    """Return whether the answer could say more than was asked for: STS's says nothing."""
    return less.is_said and not FLOWS[flow].has_session_policy


EXCHANGES = pytest.mark.parametrize("exchanges", [False, True], ids=["", "exchanges"])


@EXCHANGES
@pytest.mark.parametrize("habit", [NARROWS, SILENT])
@pytest.mark.parametrize(("flow", "less"), MET)
def test_it_is_met(tmp_path: Path, flow: str, less: Less, habit: str, *, exchanges: bool) -> None:
    """It is asked for in the flow's own way; token, answer and record say what it may do."""
    if exchanges and not FLOWS[flow].needs_person:
        return
    asks = world(tmp_path, flow, habit, exchanges=exchanges)
    given = asks.get(**less.asked)
    assert len(asks.requests) == 1
    assert less.sent(asks.requests[0])
    grant = "subject_token" if exchanges else "refresh_token"
    assert not FLOWS[flow].needs_person or grant in form_of(asks.requests[0])
    if "scopes" in less.asked:
        assert given.scopes == less.asked["scopes"]
    assert given.broader == ""
    (handed,) = asks.log.of("token.handed_out")
    assert handed["scopes"] == list(given.scopes)
    assert handed["decision"]["effect"] == "narrow"
    assert "broader" not in handed
    for word in ("resource", "audience"):
        assert word not in less.asked or handed[word] == list(less.asked[word])


@EXCHANGES
@pytest.mark.parametrize("allow", [None, False, True])
@pytest.mark.parametrize(("flow", "less"), MET)
def test_an_issuer_that_narrows_nothing(
    tmp_path: Path, flow: str, less: Less, *, allow: bool | None, exchanges: bool
) -> None:
    """Refused, exit 4; or with `allow_broader` handed out, warned of, the difference recorded."""
    if not can_be_broader(flow, less) or (exchanges and not FLOWS[flow].needs_person):
        return
    asks = world(tmp_path, flow, IGNORES, allow=allow, exchanges=exchanges)
    more = ["contents:write", "repo:b"] if FLOWS[flow].has_levels else ["write"]
    if allow:
        given = asks.get(**less.asked)
        assert set(given.scopes) >= set(more)
        assert (
            given.broader == f"the issuer of 'p' gave {' '.join(more)} too, which was not asked for"
        )
        (record,) = asks.log.of("token.handed_out")
    else:
        with pytest.raises(DeniedError, match="which was not asked for") as caught:
            asks.get(**less.asked)
        assert caught.value.exit_code == 4
        (record,) = asks.log.of("token.denied")
        assert asks.log.of("token.handed_out") == []
        (record,) = asks.log.of(
            "token.issued" if not FLOWS[flow].needs_person else "grant.refreshed"
        )
    assert record["broader"] == more
    assert len(asks.requests) == (2 if exchanges else 1), "each way once"


@pytest.mark.parametrize(("flow", "word"), NOT_MET)
def test_it_can_not_be_met(tmp_path: Path, flow: str, word: str) -> None:
    """Refused before anybody is asked: nothing that is not sent counts as narrowed."""
    asks = world(tmp_path, flow, NARROWS)
    with pytest.raises(DeniedError) as caught:
        asks.get(**{ASKED[word]: ("https://less.example",)})
    assert caught.value.exit_code == 4
    assert asks.requests == []
    (record,) = asks.log.of("token.denied")
    assert record["decision"]["effect"] == "deny"


def test_sts_alone_says_nothing_of_what_it_gave() -> None:
    """It takes a session policy or refuses it, so that an answer is what was asked for."""
    said = [name for name, traits in FLOWS.items() if traits.has_session_policy]
    assert [FLOWS[name].entry.partition(":")[2] for name in said] == [AwsWebIdentity.__name__]
