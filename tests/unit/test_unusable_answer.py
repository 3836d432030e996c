"""An answer that no token can be taken from: what it rotated is kept, what it granted is ended."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import jsonlite, policy
from brokerctl.broker.issuer import RevocationOutcome
from brokerctl.broker.login import Login
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import DecidedRequest, grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.errors import DeniedError, IssuerError
from brokerctl.model import Profile, Requester, TokenKey, TokenRequest
from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.tokens import UnusableAnswerError, parse_token_response
from brokerctl.secret import Secret
from brokerctl.store.values import Change
from tests.audit_log import OneByOne
from tests.store_room import RING, make_grant, make_token, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.store.file import FileStore

PROFILE = Profile(name="p", issuer="https://issuer.example", flow="code", client_id="app")
KEY = grant_key(PROFILE)
GOOD = {"access_token": "t2", "token_type": "Bearer", "expires_in": 60, "refresh_token": "r2"}
BAD = (
    {"token_type": "DPoP"},
    {"token_type": "N_A"},
    {"scope": "access-token-that-is-a-scope", "access_token": "access-token-that-is-a-scope"},
    {"access_token": None},
    {"access_token": "a b"},
)


class World(OneByOne):
    """Link, log and driver of an issuer that gives one answer and may not revoke."""

    def __init__(self, *, can_revoke: bool = True, **changes: Any) -> None:  # noqa: ANN401 - JSON is what it is
        self.body = GOOD | changes
        self.can_revoke = can_revoke
        self.revoked: list[str] = []
        self.events: list[str] = []

    def context(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - a stand-in
        """Return what the steps need to know: they are not run here."""
        return SimpleNamespace(metadata=SimpleNamespace(token_endpoint="https://issuer.example/t"))

    def for_login(self, *_: object) -> World:
        """Fetch nothing."""
        return self

    @property
    def known(self) -> World:
        """What is known of the issuer: this stands for it too."""
        return self

    def pin(self, *_: object) -> None:
        """Pin nothing."""

    def introspect(self, *_: object) -> None:
        """Say nothing."""

    def run(self, *_: object) -> TokenAnswer:
        """Answer."""
        body = jsonlite.dumps(self.body).encode()
        return parse_token_response(HttpResponse(status=200, body=body, sent_at=time.time()))

    def revoke(self, _profile: Profile, value: Secret, *_: object) -> RevocationOutcome:
        """Revoke, if that can be done."""
        if not self.can_revoke:
            return RevocationOutcome(outcome="local_only", reason="no endpoint")
        self.revoked.append(value.reveal())
        return RevocationOutcome(outcome="revoked")

    def append(self, event: str, _fields: object, *, durable: bool = False) -> int:
        """Remember an event."""
        self.events.append(f"{event} {durable}")
        return len(self.events)


def ask() -> TokenRequest:
    """Make a plain request."""
    return TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))


def start(tmp_path: Path, sub: str | None = None) -> FileStore:
    """Store what a login leaves."""
    store = open_store(str(tmp_path / "store"))
    with store.lock_grant(KEY, soon()) as locked:
        grant = make_grant(key=KEY).replace(sub=sub)
        locked.commit(Change(grant=grant, token_key=TokenKey(grant=KEY), token=make_token()))
    return store


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_a_rotated_token_is_kept(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The issuer has ended the old refresh token: the next try must send the new one."""
    store, world = start(tmp_path), World(**changes)
    link: Any = world
    order = DecidedRequest(PROFILE, ask(), policy.decide(PROFILE, ask()))
    with pytest.raises(IssuerError), store.lock_grant(KEY, soon()) as locked:
        Redeemer(store, link, RING, link)(order, locked)
    grant = store.find_grant(KEY)
    assert grant is not None
    assert (grant.refresh_token, grant.generation) == (Secret("r2"), 2)
    assert world.events == ["grant.refreshed True", "grant.refresh_failed False"]


@pytest.mark.parametrize("refresh_token", [None, "", 7, "r\n2"])
def test_without_a_new_one_the_old_one_stays(tmp_path: Path, refresh_token: object) -> None:
    """What can't be a refresh token replaces none."""
    store, link = start(tmp_path), World(token_type="DPoP", refresh_token=refresh_token)
    world: Any = link
    order = DecidedRequest(PROFILE, ask(), policy.decide(PROFILE, ask()))
    with pytest.raises(UnusableAnswerError), store.lock_grant(KEY, soon()) as locked:
        Redeemer(store, world, RING, world)(order, locked)
    grant = store.find_grant(KEY)
    assert grant is not None
    assert (grant.refresh_token, grant.generation) == (Secret("r1"), 1)


@pytest.mark.parametrize(
    ("changes", "values", "said"),
    [
        ({}, ("r2", "t2"), "the refresh token that came with it is queued to be revoked, and so"),
        ({"refresh_token": None}, ("t2",), "; the access token that came with it is queued"),
        ({"refresh_token": None, "access_token": "a b"}, ("a b",), "; the access token that came"),
        ({"access_token": None}, ("r2",), "; the refresh token that came with it is queued"),
        ({"access_token": None, "refresh_token": None}, (), "a usable access token"),
    ],
    ids=str,
)
def test_a_login_queues_what_it_can_t_use(
    tmp_path: Path, changes: dict[str, Any], values: tuple[str, ...], said: str
) -> None:
    """Nobody holds that grant: later commands end it at the issuer."""
    store = open_store(str(tmp_path / "store"))
    world: Any = World(token_type="DPoP", **changes)
    with pytest.raises(UnusableAnswerError, match=said):
        Login(store, world, RING, world).log_in(PROFILE, ask(), world.run, world)
    with store.lock_grant(KEY, soon()) as locked:
        queued = {item.value.reveal(): item for item in locked.state.queue}
        assert sorted(queued) == sorted(values)
        assert (locked.state.grant, locked.state.intent) == (None, None)
    ends = {item.token_type_hint for item in queued.values() if item.expires_at is not None}
    assert ends <= {"access_token"}
    Revoker(store, world, RING, world).retry(PROFILE, KEY)
    assert sorted(set(world.revoked)) == sorted(values)


def test_what_a_login_can_t_use_ends_no_grant_that_is_held(tmp_path: Path) -> None:
    """Where the issuer's habit is not known, the access token lives on, and the record says so."""
    store = start(tmp_path)
    world: Any = World(token_type="DPoP", refresh_token=None)
    with pytest.raises(UnusableAnswerError, match="the access token that came"):
        Login(store, world, RING, world).log_in(PROFILE, ask(), world.run, world)
    Revoker(store, world, RING, world).retry(PROFILE, KEY)
    assert world.revoked == []
    assert world.events[-1] == "token.revoked True"
    grant = store.find_grant(KEY)
    assert grant is not None
    assert grant.dead_why is None


@pytest.mark.parametrize(("can_revoke", "said"), [(True, "is revoked"), (False, "is not kept")])
def test_another_subjects_grant_is_called_revoked_only_if_it_is(
    tmp_path: Path, *, can_revoke: bool, said: str
) -> None:
    """A login as somebody else is refused, and its message says what became of the new grant."""
    claims = "eyJzdWIiOiJib2IifQ"  # {"sub":"bob"}
    store, link = (
        start(tmp_path, sub="alice"),
        World(can_revoke=can_revoke, id_token=f"x.{claims}."),
    )
    world: Any = link
    with pytest.raises(DeniedError, match=said):
        Login(store, world, RING, world).log_in(PROFILE, ask(), world.run, world)
    assert link.revoked == (["r2", "t2"] if can_revoke else [])
