"""Every system call of login, refresh and revoke fails, or is the last one: nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import BrokerError
from brokerctl.store.entry import GRANT, QUEUE, TOKEN
from tests.faults.faulty import CHANGING, COUNTED, MODES, FaultySystem, Killed, count_calls
from tests.store_room import (
    GRANT_KEY,
    NOW,
    TOKEN_KEY,
    log_in,
    make_change,
    make_intent,
    make_queued,
    make_token,
    open_store,
    soon,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerctl.store.file import FileStore


class Issuer:
    """The one who rotates: it honours its newest refresh token alone."""

    def __init__(self, honoured: str | None) -> None:
        self.honoured = honoured
        self.finished = False


def _log_in(store: FileStore, issuer: Issuer) -> None:
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        locked.intend(make_intent("login", 0))
        issuer.honoured = "r2"
        locked.commit(make_change("r2", make_token("t2")))
    issuer.finished = True


def _refresh(store: FileStore, issuer: Issuer) -> None:
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        locked.intend(make_intent())
        issuer.honoured = "r2"
        locked.commit(make_change("r2", make_token("t2")))
    issuer.finished = True


def _revoke(store: FileStore, issuer: Issuer) -> None:
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        locked.enqueue(make_queued("r1"))
        locked.enqueue(make_queued("t1"))
        locked.settle(make_queued("t1").fingerprint, "unknown")
        locked.end(1, "revoked here")
        issuer.honoured = None
        locked.settle(make_queued("t1").fingerprint, "revoked")
        locked.dequeue(make_queued("r1").fingerprint)
        locked.dequeue(make_queued("t1").fingerprint)
    issuer.finished = True


def _strike(folder: str, system: FaultySystem, steps: Callable[..., None], start: Issuer) -> Issuer:
    """Run the steps under the fault; only our own errors may come out of it."""
    try:
        steps(open_store(folder, system), start)
    except (BrokerError, Killed):
        assert not start.finished
    return start


def _check_redeemed(store: FileStore, issuer: Issuer, calls: list[str]) -> None:
    """The old or the new grant opens and is honoured, or an intent says why not."""
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        state = locked.state
        held = (
            state.grant.refresh_token.reveal()
            if state.grant and state.grant.refresh_token
            else None
        )
        if held != issuer.honoured:
            assert state.earlier_intent is not None, calls
            assert state.earlier_intent.generation == (state.grant.generation if state.grant else 0)
        assert state.damage == (), calls
    token = store.find_token(TOKEN_KEY, NOW, 0)
    if issuer.finished:
        assert held == "r2"
        assert token is not None
        assert token.value.reveal() == "t2"
    _check_readable(store)


def _check_revoked(store: FileStore, issuer: Issuer, calls: list[str]) -> None:
    """Each token is dead, or usable here, or in the queue that later commands retry."""
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        state = locked.state
        queued = {item.value.reveal() for item in state.queue}
        grant = state.grant
        assert grant is not None
        assert grant.refresh_token is not None or "r1" in queued or issuer.honoured is None, calls
        served = store.find_token(TOKEN_KEY, NOW, 0)
        assert served is not None or "t1" in queued or issuer.honoured is None, calls
        if issuer.finished:
            assert (grant.refresh_token, queued, served) == (None, set(), None)
    _check_readable(store)


def _check_readable(store: FileStore) -> None:
    assert all(
        entry.damage is None for kind in (GRANT, TOKEN, QUEUE) for entry in store.entries(kind)
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("steps", "check", "first"),
    [
        (_log_in, _check_redeemed, None),
        (_refresh, _check_redeemed, "r1"),
        (_revoke, _check_revoked, "r1"),
    ],
    ids=["login", "refresh", "revoke"],
)
def test_no_call_that_fails_or_kills_loses_a_grant(
    tmp_path: Path,
    mode: str,
    steps: Callable[..., None],
    check: Callable[..., None],
    first: str | None,
) -> None:
    """Whichever call goes wrong: the grant opens, or an intent or the queue says what is left."""
    start = str(tmp_path / "start" / "store")
    os.makedirs(os.path.dirname(start), mode=0o700)
    if first is None:
        open_store(start)
    else:
        log_in(open_store(start))
    names = COUNTED if mode in {"fail", "kill"} else CHANGING
    work = str(tmp_path / "work" / "store")

    def run(system: FaultySystem) -> Issuer:
        shutil.rmtree(os.path.dirname(work), ignore_errors=True)
        shutil.copytree(os.path.dirname(start), os.path.dirname(work))
        return _strike(work, system, steps, Issuer(first))

    def count(system: FaultySystem) -> None:
        assert run(system).finished, system.calls

    total = count_calls(count, names)
    assert total > 20
    for nth in range(1, total + 1):
        system = FaultySystem(nth, mode, code=errno.ENOSPC, names=names)
        issuer = run(system)
        check(open_store(work), issuer, system.calls[-3:])
