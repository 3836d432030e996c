"""A back-off that was noted under a clock which was wrong holds nobody up."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl import policy
from brokerctl.broker import Order, grant_key
from brokerctl.errors import IssuerError
from brokerctl.model import Profile, Requester, Token, TokenRequest
from brokerctl.obtaining import Obtaining
from brokerctl.store.backoff import next_failure
from tests.store_room import make_grant, make_token, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.store.contract import LockedGrant

PROFILE = Profile(name="p", issuer="https://issuer.example", flow="code", client_id="app")
KEY = grant_key(PROFILE)
YEAR_S = 365 * 86400


@pytest.mark.parametrize(("ahead_s", "is_tried"), [(0.0, False), (YEAR_S, True), (-YEAR_S, True)])
def test_back_off(tmp_path: Path, ahead_s: float, *, is_tried: bool) -> None:
    """A failure of now is taken for ours; one of next year says nothing of the issuer of today."""
    store = open_store(str(tmp_path / "store"))
    failure = next_failure(None, time.time() + ahead_s, IssuerError("the issuer is down"))
    with store.lock_grant(KEY, soon()) as locked:
        locked._write_grant(make_grant(key=KEY))  # noqa: SLF001 - without what a login leaves
        locked.record_failure(failure)
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
    order = Order(PROFILE, request, policy.decide(PROFILE, request))
    tried: list[Order] = []

    def redeem(asked: Order, _locked: LockedGrant) -> Token:
        tried.append(asked)
        return make_token(issued_at=time.time())

    obtaining = Obtaining(store, redeem, order)
    if is_tried:
        obtaining.run()
    else:
        with pytest.raises(IssuerError, match="down"):
            obtaining.run()
    assert bool(tried) is is_tried
