"""A failure that is remembered: whom it holds up, and whose it becomes."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import policy
from brokerctl.broker.obtain import Obtaining, next_failure
from brokerctl.broker.request import DecidedRequest, grant_key
from brokerctl.errors import IssuerError
from brokerctl.model import Profile, Requester, Token, TokenRequest
from tests.store_room import make_grant, make_token, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.model import GrantKey
    from brokerctl.store.file import FileStore
    from brokerctl.store.file.lock import Locking
    from brokerctl.store.interface import LockedGrant
    from brokerctl.store.values import Failure

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
    order = DecidedRequest(PROFILE, request, policy.decide(PROFILE, request))
    tried: list[DecidedRequest] = []

    def redeem(asked: DecidedRequest, _locked: LockedGrant) -> Token:
        tried.append(asked)
        return make_token(issued_at=time.time())

    obtaining = Obtaining(store, redeem, order)
    if is_tried:
        obtaining.run()
    else:
        with pytest.raises(IssuerError, match="down"):
            obtaining.run()
    assert bool(tried) is is_tried


class Overtaken:
    """A store in which another's attempt fails just before we have the lock."""

    def __init__(self, store: FileStore, failure: Failure) -> None:
        self._store = store
        self._failure = failure

    def lock_grant(self, key: GrantKey, deadline: float) -> Locking:
        """Let the other one fail, and then have the lock."""
        with self._store.lock_grant(key, soon()) as locked:
            locked.record_failure(self._failure)
        return self._store.lock_grant(key, deadline)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self._store, name)


def test_a_failure_is_adopted_under_the_lock(tmp_path: Path) -> None:
    """Who gets the lock right after another's failure takes it as his own and sends nothing."""
    store = open_store(str(tmp_path / "store"))
    with store.lock_grant(KEY, soon()) as locked:
        locked._write_grant(make_grant(key=KEY))  # noqa: SLF001 - as above
    failure = next_failure(None, time.time(), IssuerError("the issuer is down"))
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
    order = DecidedRequest(PROFILE, request, policy.decide(PROFILE, request))

    def redeem(*_: object) -> Token:
        raise AssertionError("a request was sent")

    overtaken: Any = Overtaken(store, failure)
    with pytest.raises(IssuerError, match="down"):
        Obtaining(overtaken, redeem, order).run()
