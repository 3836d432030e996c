"""A lifetime that the issuer never named is a guess: nothing may be called dead because of it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import policy
from brokerctl.broker.answers import make_token
from brokerctl.broker.events import record_fields
from brokerctl.broker.issuer import RevocationOutcome
from brokerctl.broker.request import DecidedRequest, grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.model import Profile, Requester, Token, TokenKey, TokenRequest
from brokerctl.oauth.tokens import TokenAnswer
from brokerctl.secret import Secret
from brokerctl.store import slots
from brokerctl.store.check import gc
from brokerctl.store.values import Change
from tests.audit_log import OneByOne
from tests.store_room import RING, make_grant, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.store.file import FileStore

PROFILE = Profile(name="p", issuer="https://issuer.example", flow="code", client_id="app")
KEY = grant_key(PROFILE)


class World(OneByOne):
    """Issuer and log: notes what it was told to revoke."""

    def __init__(self) -> None:
        self.revoked: list[str] = []
        self.recorded: list[tuple[str, str]] = []

    def revoke(self, _profile: Profile, value: Secret, *_: object) -> RevocationOutcome:
        """Note one."""
        self.revoked.append(value.reveal())
        return RevocationOutcome(outcome="revoked")

    def append(self, event: str, fields: dict[str, Any], **_: object) -> int:
        """Remember an event and its outcome."""
        self.recorded.append((event, fields["outcome"]))
        return len(self.recorded)


def order(profile: Profile = PROFILE) -> DecidedRequest:
    """Make the order of a plain request."""
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
    return DecidedRequest(profile, request, policy.decide(profile, request))


def issued(expires_in: int | None, profile: Profile = PROFILE, age_s: float = 0) -> Token:
    """Make the token of an answer that came `age_s` seconds ago."""
    answer = TokenAnswer(
        access_token=Secret("a1"),
        token_type="Bearer",
        expires_in=expires_in,
        scopes=(),
        sent_at=time.time() - age_s,
    )
    return make_token(RING, order(profile), answer, 1)


def open_now(tmp_path: Path) -> FileStore:
    """Open a store whose clock is the real one, as the revoker's is."""
    store = open_store(str(tmp_path / "store"))
    store.clock = time.time
    return store


def hold(store: FileStore, *tokens: Token) -> None:
    """Store a grant and its access tokens, the last one current."""
    with store.lock_grant(KEY, soon()) as locked:
        for token in tokens:
            locked.commit(
                Change(grant=make_grant(key=KEY), token_key=TokenKey(grant=KEY), token=token)
            )


def revoker(store: FileStore, world: Any) -> Revoker:  # noqa: ANN401 - it stands for log and link
    """Return what ends tokens in this world."""
    return Revoker(store, world, RING, world)


def test_the_issuers_word_comes_first() -> None:
    """`lifetime` is for an answer without `expires_in`, and shortens or stretches no other."""
    profile = PROFILE.replace(lifetime_s=3600)
    said, guessed = issued(60, profile), issued(None, profile)
    assert said.expires_at == said.issuer_end == said.issued_at + 60
    assert (guessed.expires_at, guessed.issuer_end) == (guessed.issued_at + 3600, None)


def test_a_record_names_no_expiry_that_the_issuer_never_said() -> None:
    """`expires_at` is what we serve by; `issuer_expires_at` is the issuer's word or null."""
    fields = record_fields(order(), issued(None))
    assert fields["expires_at"] is not None
    assert fields["issuer_expires_at"] is None


def test_a_guess_keeps_its_value_when_it_is_superseded(tmp_path: Path) -> None:
    """It may be alive for hours: what is forgotten can't be revoked."""
    old, new = issued(None, age_s=400), issued(3600).replace(fingerprint="f" * 32)
    store = open_now(tmp_path)
    hold(store, old, new)
    with store.lock_grant(KEY, soon()) as locked:
        (slot,) = locked.state.slots
    assert [(one.status, bool(one.value)) for one in slot.superseded] == [("superseded", True)]
    assert not slots.has_ended(slot.replace(current=None), time.time())


@pytest.mark.parametrize(
    ("expires_in", "outcome", "told"), [(None, "revoked", ["r1", "a1"]), (60, "expired", ["r1"])]
)
def test_revoke_asks_the_issuer(
    tmp_path: Path, expires_in: int | None, outcome: str, told: list[str]
) -> None:
    """What is past a guess is revoked at the issuer; what is past the issuer's word is expired."""
    store, world = open_now(tmp_path), World()
    hold(store, issued(expires_in, age_s=400))
    endings = revoker(store, world).revoke(PROFILE, KEY)
    assert [one.outcome for one in endings if one.kind == "access_token"] == [outcome]
    assert world.revoked == told


def test_what_falls_off_is_spared_where_it_would_end_the_grant(tmp_path: Path) -> None:
    """`revoke_at_exit = "none"` holds for the queue too, until the grant itself is revoked."""
    store, world = open_now(tmp_path), World()
    tokens = [
        issued(3600).replace(value=Secret(f"a{number}"), fingerprint=f"{number:032x}")
        for number in range(18)
    ]
    hold(store, *tokens)
    profile = PROFILE.replace(revoke_at_exit="none")
    (ending,) = revoker(store, world).retry(profile, KEY)
    assert (ending.outcome, ending.fingerprint) == ("local_only", tokens[0].fingerprint)
    assert world.revoked == []
    revoker(store, world).revoke(profile, KEY)
    assert len(world.revoked) == 1 + 17


def test_a_session_records_what_it_may_not_revoke(tmp_path: Path) -> None:
    """With `revoke_at_exit = "none"` its token lives on, and the record says until when."""
    store, world = open_now(tmp_path), World()
    token = issued(3600).replace(session="s1")
    hold(store, token)
    profile = PROFILE.replace(revoke_at_exit="none")
    (ending,) = revoker(store, world).revoke_session(profile, KEY, "s1")
    assert (ending.outcome, ending.until) == ("local_only", token.expires_at)
    assert world.revoked == []
    assert world.recorded == [("token.revoked", "local_only")]


def test_gc_keeps_what_may_be_alive(tmp_path: Path) -> None:
    """A slot whose token ended by our guess alone stays, so that `revoke` reaches the token."""
    store, key, token = open_store(str(tmp_path / "store")), TokenKey(grant=KEY), issued(None)
    with store.lock_grant(KEY, soon()) as locked:
        locked.commit(Change(grant=make_grant(key=KEY), token_key=key, token=token, profile="p"))
    later = time.time() + 400 * 86400
    assert gc(store, later).slots == 0
    with store.lock_grant(KEY, soon()) as locked:
        locked.settle(token.fingerprint, "revoked")
    assert gc(store, later).slots == 1
