"""A failure that is remembered, and a lock that is waited for: whom they hold up."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import policy
from brokerctl.broker.obtain import Obtaining, next_failure
from brokerctl.broker.request import DecidedRequest, grant_key
from brokerctl.errors import IssuerError, LockTimeoutError
from brokerctl.freshness import LOCK_WAIT_S
from brokerctl.model import Profile, Requester, Token, TokenKey, TokenRequest
from brokerctl.platform.work_clock import work_time
from brokerctl.store.values import Change
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


class Crowded:
    """A store whose lock nobody gets, while another process stores a new token."""

    def __init__(self, store: FileStore, *, is_free: bool) -> None:
        self._store = store
        self._is_free = is_free  # when it is waited for; then others have it
        self.deadlines: list[float] = []

    def _time_out(self) -> None:
        log_in(self._store, KEY, make_token("new", issued_at=time.time()))
        raise LockTimeoutError("the grant is locked by process 77")

    def wait_for_another(self, _key: GrantKey, _deadline: float) -> None:
        """Wait until the deadline."""
        if not self._is_free:
            self._time_out()

    def lock_grant(self, _key: GrantKey, deadline: float) -> Locking:
        """Wait until the deadline."""
        self.deadlines.append(deadline)
        self._time_out()
        raise AssertionError

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self._store, name)


def log_in(store: FileStore, key: GrantKey, token: Token) -> None:
    """Store a grant and its token as another process does."""
    with store.lock_grant(key, soon()) as locked:
        change = Change(
            grant=make_grant(key=key), token_key=TokenKey(grant=key), token=token, profile="p"
        )
        locked.commit(change)


def crowded(tmp_path: Path, *, is_free: bool, is_fresh: bool = True) -> tuple[Obtaining, Crowded]:
    """Return a request that meets a lock which it never gets, and the store."""
    store = open_store(str(tmp_path / "store"))
    log_in(store, KEY, make_token("old", lifetime_s=1.0, issued_at=time.time() - 1000))
    request = TokenRequest(
        profile="p", requester=Requester(uid=os.geteuid(), pid=1), is_fresh=is_fresh
    )
    order = DecidedRequest(PROFILE, request, policy.decide(PROFILE, request))
    meets = Crowded(store, is_free=is_free)
    held: Any = meets

    def redeem(*_: object) -> Token:
        raise AssertionError("a request was sent")

    return Obtaining(held, redeem, order), meets


@pytest.mark.parametrize("is_free", [True, False])
@pytest.mark.parametrize("is_fresh", [True, False])
def test_who_got_no_lock_takes_the_token_that_came(
    tmp_path: Path, *, is_free: bool, is_fresh: bool
) -> None:
    """One that is newer than the question serves `--fresh` too: it is what was waited for."""
    obtaining, _ = crowded(tmp_path, is_free=is_free, is_fresh=is_fresh)
    token, source = obtaining.run()
    assert (token.value.reveal(), source) == ("new", "cache")


def test_a_wait_that_a_starved_holder_took_is_begun_anew(tmp_path: Path) -> None:
    """The next holder has its own time: who waited for the last one must not fail at once."""
    obtaining, store = crowded(tmp_path, is_free=True)
    obtaining._deadline = work_time() - 1  # noqa: SLF001 - the holder was at work for so long
    begun = work_time()
    obtaining.run()
    assert store.deadlines[0] >= begun + LOCK_WAIT_S
    obtaining, store = crowded(tmp_path, is_free=True)
    deadline = obtaining._deadline  # noqa: SLF001 - as above
    obtaining.run()
    assert store.deadlines == [deadline]
