"""What an issuer gave is never thrown away: odd answers of a token endpoint, in every flow.

One table: what is odd, and what must come of it. *used*: the access token serves, the refresh
token is stored. *kept*: the access token is no use; the refresh token is stored after a refresh,
and queued to be revoked after a login. *over*: the token has ended, the grant has not. *nothing*:
no token came.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from brokerctl import policy
from brokerctl.broker.login import Login
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import DecidedRequest, grant_key
from brokerctl.effects.drive import run
from brokerctl.errors import IssuerError, LoginNeededError
from brokerctl.model import Profile, Requester, TokenKey, TokenRequest
from brokerctl.oauth.steps import Listen, Send, Visit
from brokerctl.store.file import FileStore
from brokerctl.store.file.memory import MemorySystem
from brokerctl.store.values import Change
from tests.audit_log import OneByOne
from tests.issuer_room import make_client
from tests.store_room import RING, make_grant, make_token, soon

if TYPE_CHECKING:
    from brokerctl.model import Token
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.store.values import Grant

ISSUER = "https://issuer.example"
AT, RT, OLD = "an-access-token-2", "refresh-token-2", "refresh-token-1"
GOOD = {
    "access_token": AT,
    "token_type": "Bearer",
    "expires_in": 3600,
    "refresh_token": RT,
    "scope": "read",
}
# What a gateway shows of a request in its error page, its secrets being hidden.
ECHO = {"grant_type": "refresh_token", "refresh_token": "[hidden]", "client_id": "app"}
HEAD = f'"access_token":"{AT}","refresh_token":"{RT}"'
DEEP = "[" * 100_000 + "]" * 100_000
USED, KEPT, OVER, NOTHING = "used", "kept", "over", "nothing"


class Case(NamedTuple):
    """One odd answer, what must come of it, and what is said where it is no use."""

    name: str
    body: bytes
    outcome: str = USED
    said: str = ""
    status: int = 200
    scopes: tuple[str, ...] = ("read",)
    has_refresh: bool = True
    how: str = ""  # broke: the connection did, behind it; cut: the rest never came


def like(name: str, *, without: str = "", **changes: Any) -> Case:  # noqa: ANN401 - JSON is what it is
    """Make a good answer with some members changed, and one left out."""
    body = {key: value for key, value in (GOOD | changes).items() if key != without}
    return Case(name, json.dumps(body).encode())


def raw(name: str, text: str, encoding: str = "utf-8") -> Case:
    """Make an answer that `json` would not write."""
    return Case(name, text.encode(encoding))


def each(values: list[Any]) -> list[Any]:
    """Return values of any type."""
    return values


def no_use(case: Case, said: str) -> Case:
    """Say that a case's access token is no use, and why."""
    return case._replace(outcome=KEPT, said=said)


NO_TOKEN, NO_CHARACTERS = "without a usable access token", "characters in the access token"
TABLE = [
    like("a plain one"),
    *(like(f"status {n}")._replace(status=n) for n in (201, 202, 203, 206, 299)),
    *(like(f"error {json.dumps(e)}", error=e) for e in each([None, "", False, 0, [], {}])),
    like("an error beside a token", error="invalid_grant", error_description="\x1b[2J"),
    like("an error that is none", error={"code": 5}),
    raw("a byte order mark", "\ufeff" + json.dumps(GOOD)),
    raw("UTF-16", json.dumps(GOOD), "utf-16"),
    raw("UTF-16 without a mark", json.dumps(GOOD), "utf-16-le"),
    raw(
        "Latin-1 in a member nobody reads",
        f'{{"name":"M\xfcller",{HEAD},"scope":"read"}}',
        "latin-1",
    ),
    raw("NaN", f'{{"x":NaN,"y":-Infinity,{HEAD},"scope":"read"}}'),
    raw("a number without end", f'{{"x":{"9" * 5000},"y":1e999,{HEAD},"scope":"read"}}'),
    raw("half a character", f'{{"x":"\\ud800",{HEAD},"scope":"read"}}'),
    raw("a line feed in a string", f'{{"x":"a\nb",{HEAD},"scope":"read"}}'),
    raw("a key twice", f'{{"x":1,"x":2,{HEAD},"scope":"read"}}'),
    raw("the token twice", f'{{{HEAD},{HEAD},"scope":"read"}}'),
    raw("the token and null", f'{{{HEAD},"scope":"read","access_token":null,"refresh_token":""}}'),
    raw("text behind it", json.dumps(GOOD) + "\n<!-- 0.02 s -->"),
    raw("blank lines before it", "\r\n\n \t" + json.dumps(GOOD)),
    raw("depth before it", f'{{"x":{DEEP},{HEAD},"scope":"read"}}'),
    raw("depth behind it", f'{{{HEAD},"scope":"read","x":{DEEP}}}'),
    raw("cut short behind it", f'{{{HEAD},"scope":"read","id_token":"eyJ'),
    raw("a comma too many", f'{{{HEAD},"scope":"read",}}'),
    *(like(f"{how} behind it")._replace(how=how) for how in ("broke", "cut")),
    *(
        raw(f"{how} in the last string", f'{{{HEAD},"scope":"read","x":"')._replace(how=how)
        for how in ("broke", "cut")
    ),
    like("a huge member", x="x" * 900_000),
    raw("many members", json.dumps(GOOD | {f"x{number}": number for number in range(5000)})),
    raw(
        "a form", f"access_token={AT}&refresh_token={RT}&scope=read&token_type=bearer&expires_in=60"
    ),
    *(
        like(f"type {kind!r}", token_type=kind)
        for kind in ("bearer", "BEARER", " Bearer", None, "")
    ),
    like("no type", without="token_type"),
    *(
        like(f"expires_in {at!r}", expires_in=at)
        for at in each(["3600", "soon", None, True, [], {}, 1e300])
    ),
    like("no expires_in", without="expires_in"),
    like("scopes as a list", scope=["read", "write"])._replace(scopes=("read", "write")),
    like("scopes with a tab", scope="read\twrite")._replace(scopes=("read", "write")),
    like("a scope that can't be one", scope='read a"\x1b')._replace(scopes=("a??", "read")),
    *(like(f"scope {scope!r}", scope=scope) for scope in each([None, 5, {"read": True}, False])),
    like("scopes without end", scope="read " + " ".join(f"x{n}" for n in range(5000)))._replace(
        scopes=("read",)
    ),
    *(like(f"id_token {t!r}", id_token=t) for t in each([7, "x", "a.b.c", "a.W10.c", None])),
    like("a refresh token with a blank", refresh_token=RT),
    like("lifetimes that are none", refresh_expires_in="x", refresh_token_expires_in=-1),
    *(
        like(f"refresh token {t!r}", refresh_token=t)._replace(has_refresh=False)
        for t in each([7, "", "a\n", None, []])
    ),
    *(
        no_use(like(f"token {t!r:.20}", access_token=t), NO_TOKEN)
        for t in each([None, "", 7, [AT], "a" * 65537])
    ),
    *(no_use(like(f"token {t!r}", access_token=t), NO_CHARACTERS) for t in ("a b", "\xe4", "a\n")),
    no_use(like("no token", without="access_token"), NO_TOKEN),
    no_use(like("an error and no token", without="access_token", error="x"), NO_TOKEN),
    *(
        no_use(like(f"type {kind!r}", token_type=kind), "not Bearer")
        for kind in each(["DPoP", "N_A", 1, ["Bearer"]])
    ),
    no_use(raw("wrapped", json.dumps({"data": GOOD})), NO_TOKEN),
    no_use(raw("a list", json.dumps([GOOD])), NO_TOKEN),
    like(
        "half a character for a refresh token", refresh_token="\ud800", token_type="DPoP"
    )._replace(outcome=NOTHING, said="not Bearer"),
    Case("our request, shown", json.dumps({"debug": ECHO}).encode(), NOTHING, NO_TOKEN),
    Case("our request as it was", json.dumps(ECHO).encode(), NOTHING, NO_TOKEN),
    no_use(like("a secret as a scope", scope=AT), "a secret among its scopes"),
    no_use(raw("cut in the token", f'{{"refresh_token":"{RT}","access_token":"acc'), NO_TOKEN),
    *(
        like(f"expires_in {at}", expires_in=at)._replace(outcome=OVER, said="is over")
        for at in each([0, -5, "0"])
    ),
    *(
        Case(f"body {body!r:.20}", body, NOTHING, "did not answer in JSON")
        for body in (b"", b"<html>", b"null", b"[]", b"7", b"\xff", b"[" * 100_000, b"{", b"ok")
    ),
    *(
        Case(f"body {body!r}", body, NOTHING, NO_TOKEN)
        for body in (b"{}", b'{"error":null}', b'{"error":""}', b'{"error":[]}', b"a=b")
    ),
    *(
        like(f"status {n}")._replace(outcome=NOTHING, said=f"answered {n}", status=n)
        for n in (302, 400, 403)
    ),
]  # fmt: skip - a row a line
EVERY = pytest.mark.parametrize("case", TABLE, ids=[case.name for case in TABLE])


class Wire(OneByOne):
    """Stands for issuer, desk and log: answers, logs in by itself and remembers events."""

    def __init__(self, *answers: Case) -> None:
        self.answers = list(answers)
        self.records: list[tuple[str, Any]] = []

    def send(self, request: HttpRequest, _deadline: float | None = None) -> HttpResponse:
        """Answer with what is next; the device endpoint always has a code."""
        how, status = "", 200
        body = b'{"device_code":"d","user_code":"U","verification_uri":"https://v"}'
        if request.url == f"{ISSUER}/token":
            case = self.answers.pop(0)
            body, status, how = case.body, case.status, case.how
        now = time.time()
        came = request.answered(status=status, headers=(), body=body, sent_at=now, received_at=now)
        if how:
            raise getattr(request, how)("the answer was cut short", came)
        return came

    def do(self, step: Any) -> Any:  # noqa: ANN401 - each step has an answer of its own
        """Do what a person would."""
        if isinstance(step, Send):
            return self.send(step.request)
        if isinstance(step, Visit):
            return f"code=c&state={step.state.reveal()}"
        return "http://127.0.0.1:1/callback" if isinstance(step, Listen) else None

    def append(self, event: str, fields: dict[str, Any], **_: object) -> int:
        """Remember an event."""
        self.records.append((event, fields.get("reason") or fields.get("error")))
        return len(self.records)


class Came:
    """What came of it: the token or the error, and what lies in the store."""

    def __init__(self, flow: str, *answers: Case, grant: Grant | None = None) -> None:
        self.store = FileStore(MemorySystem().folder("m"), RING, clock=time.time)
        names = ("authorization", "token", "device_authorization", "revocation")
        self.profile = Profile(
            name="p", issuer=ISSUER, flow=flow, client_id="app", scopes=("read",),
            pkce_support="assumed", client_auth="none",
            endpoints=tuple((f"{name}_endpoint", f"{ISSUER}/{name}") for name in names),
        )  # fmt: skip
        self.wire: Any = Wire(*answers)
        self.key = grant_key(self.profile)
        self.token_key = TokenKey(grant=self.key, scopes=("read",))
        self.request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
        self.link = make_client(self.store, lambda *_: self.wire)
        if grant is not None:
            with self.store.lock_grant(self.key, soon()) as locked:
                old = make_token("access-token-1", lifetime_s=1)
                locked.commit(Change(grant=grant, token_key=self.token_key, token=old))

    def redeem(self) -> Token:
        """Redeem what is there, or ask as the client."""
        order = DecidedRequest(
            self.profile, self.request, policy.decide(self.profile, self.request)
        )
        with self.store.lock_grant(self.key, soon()) as locked:
            return Redeemer(self.store, self.wire, RING, self.link)(order, locked)

    def log_in(self) -> None:
        """Log in as a person."""
        login = Login(self.store, self.wire, RING, self.link)
        login.log_in(self.profile, self.request, run, self.wire)

    @property
    def refresh_token(self) -> str | None:
        """What a live grant would send next."""
        grant = self.store.find_grant(self.key)
        assert grant is None or grant.dead_why is None
        return grant.refresh_token.reveal() if grant and grant.refresh_token else None

    @property
    def served(self) -> str | None:
        """What `get` would find."""
        token = self.store.find_token(self.token_key, time.time(), 0)
        return token.value.reveal() if token else None

    @property
    def queue(self) -> list[str]:
        """What is to be revoked; no intent is left beside it."""
        with self.store.lock_grant(self.key, soon()) as locked:
            assert locked.state.intent is None
            return [item.value.reveal() for item in locked.state.queue if item.value]


def held() -> Grant:
    """Make the grant that is redeemed."""
    grant = make_grant(OLD, grant_key(Came("code").profile))
    return grant.replace(scopes=("read",))


@EVERY
@pytest.mark.parametrize("flow", ["code", "device"])
def test_login(flow: str, case: Case) -> None:
    """A login stores what it can use, and leaves nothing alive that nobody holds."""
    came = Came(flow, case)
    if case.outcome in {USED, OVER}:
        came.log_in()
        assert came.refresh_token == (RT if case.has_refresh else None)
        assert (came.served, came.queue) == (AT if case.outcome == USED else None, [])
        return
    with pytest.raises(IssuerError, match=case.said) as caught:
        came.log_in()
    assert (came.refresh_token, came.served) == (None, None)
    # An access token that can't be used is queued as well: test_unusable_answer.py.
    others = [one for one in came.queue if one not in {AT, "a b"}]
    assert others == ([RT] if case.outcome == KEPT else [])
    assert ("is queued to be revoked" in caught.value.message) is bool(came.queue)


@EVERY
@pytest.mark.parametrize("rotates", [True, False], ids=["rotates", "does not rotate"])
def test_refresh(case: Case, *, rotates: bool) -> None:
    """A refresh keeps the newest refresh token that came, and never ends the grant by itself."""
    if not rotates:
        old, new = RT.encode(), OLD.encode()
        body = case.body.replace(old, new)
        for text in (RT, OLD):
            old, new = new, text.encode("utf-16-le")
        case = case._replace(body=body.replace(old, new))
    came = Came("code", case, grant=held())
    has_new = rotates and case.has_refresh and case.outcome != NOTHING
    if case.outcome == USED:
        token = came.redeem()
        assert (token.value.reveal(), came.served) == (AT, AT)
        assert set(case.scopes) <= set(token.scopes)
        assert case.scopes == token.scopes or len(token.scopes) == 1000
    else:
        with pytest.raises(IssuerError, match=case.said) as caught:
            came.redeem()
        is_told = "the refresh token that came with it is kept" in caught.value.message
        assert is_told is (has_new and case.outcome == KEPT)
    assert came.refresh_token == (RT if has_new else OLD)
    assert not any("cut off" in (reason or "") for _, reason in came.wire.records)


@EVERY
def test_client_credentials(case: Case) -> None:
    """A client's own token serves as a person's does; a refresh token with it is not stored."""
    came = Came("client_credentials", case)
    if case.outcome == USED:
        assert came.redeem().value.reveal() == AT
        assert came.served == AT
    else:
        with pytest.raises(IssuerError, match=case.said):
            came.redeem()
        assert came.served is None
    assert (came.refresh_token, came.queue) == (None, [])


@pytest.mark.parametrize(
    "case", [case for case in TABLE if case.outcome == NOTHING], ids=lambda case: case.name
)
def test_only_a_crash_is_called_one(case: Case) -> None:
    """The end of a grant after an answer that was no use is not said to be a crash."""
    dead = Case("dead", b'{"error":"invalid_grant"}', status=400)
    came = Came("code", case, dead, grant=held())
    with pytest.raises(IssuerError):
        came.redeem()
    with pytest.raises(LoginNeededError) as caught:
        came.redeem()
    assert "cut off" not in caught.value.message
    assert "was lost on its way here or could not be used" in caught.value.message


@pytest.mark.parametrize(
    ("first", "asked"),
    [
        (raw("broke behind the access token", f'{{"access_token":"{AT}"'), 2),
        (raw("broke in the refresh token", f'{{"access_token":"{AT}","refresh_token":"re'), 2),
        (raw("broke behind the refresh token", f'{{"refresh_token":"{RT}","access_'), 1),
        (Case("a form may be cut anywhere", f"access_token={AT}&refresh_token=ref".encode()), 2),
        (Case("a page", b"<html>"), 2),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_is_asked_again(first: Case, asked: int) -> None:
    """A broken connection is worth another try, unless the new refresh token came before."""
    came = Came("code", first._replace(how="broke"), TABLE[0], grant=held())
    if asked == 1:
        with pytest.raises(IssuerError, match="the refresh token that came with it is kept"):
            came.redeem()
    else:
        assert came.redeem().value.reveal() == AT
    assert (came.refresh_token, len(came.wire.answers)) == (RT, 2 - asked)


@pytest.mark.parametrize("flow", ["code", "device"])
def test_a_login_is_not_asked_again(flow: str) -> None:
    """A code is good for one request: what came of the answer is all that there will be."""
    came = Came(flow, raw("", f'{{"access_token":"{AT}","refr')._replace(how="broke"))
    came.log_in()
    assert (came.served, came.refresh_token, came.queue) == (AT, None, [])
