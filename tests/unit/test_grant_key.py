"""Whose tokens are whose: what makes two profiles share a grant, and what never does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from brokerctl.broker import Broker
from brokerctl.broker.request import grant_key
from brokerctl.config.plan import Plan
from brokerctl.model import Profile, Requester, TokenKey, TokenRequest
from brokerctl.secret import Secret
from brokerctl.store.entry import grant_name
from brokerctl.store.values import Change
from tests.audit_log import OneByOne
from tests.store_room import RING, make_grant, make_token, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

PERSON = Profile(name="person", issuer="https://issuer.example", flow="code", client_id="app")
SERVICE = PERSON.replace(name="service", flow="client_credentials")


class Log(OneByOne):
    """A log that is not read."""

    def append(self, *_: object, **__: object) -> int:
        """Forget the record."""
        return 1


def test_ways_to_one_person_share_a_grant() -> None:
    """Browser or device: it is the same person's authority."""
    assert grant_key(PERSON) == grant_key(PERSON.replace(flow="device"))


def test_a_client_is_not_its_person() -> None:
    """One client of an issuer may have people and act for itself; the names differ."""
    keys = [grant_key(profile) for profile in (PERSON, SERVICE)]
    assert len({grant_name(RING.name_key, key) for key in keys}) == 2


def test_a_service_never_gets_a_persons_token(tmp_path: Path) -> None:
    """With a person logged in to the same client, the service still asks for a token of its own."""
    store = open_store(str(tmp_path / "store"))
    key = grant_key(PERSON)
    with store.lock_grant(key, soon()) as locked:
        token = make_token("alices", lifetime_s=None)
        locked.commit(Change(grant=make_grant(key=key), token_key=TokenKey(grant=key), token=token))
    asked: list[object] = []

    def redeem(_order: Any, locked: Any) -> Any:  # noqa: ANN401 - an Order, a LockedGrant, a Token
        asked.append(locked.state.grant)
        return make_token("own").replace(value=Secret("own"), expires_at=None, generation=0)

    log: Any = Log()
    broker = Broker(Plan(profiles={"service": SERVICE}), store, log, redeem)
    request = TokenRequest(profile="service", requester=Requester(uid=os.geteuid(), pid=1))
    assert broker.get(request).value.reveal() == "own"
    assert asked == [None]
