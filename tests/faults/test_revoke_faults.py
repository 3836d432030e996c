"""Every system call of a revocation fails, or is the last one: what lives is held or queued."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.issuer import RevocationOutcome
from brokerctl.broker.request import grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.errors import BrokerError
from brokerctl.model import Profile, TokenKey
from brokerctl.store.values import Change
from tests.audit_log import OneByOne
from tests.faults.faulty import CHANGING, MODES, STUCK, FaultySystem, Killed
from tests.store_room import RING, make_grant, make_token, open_store, soon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brokerctl.secret import Secret
    from brokerctl.store.file import FileStore

PROFILE = Profile(name="p", issuer="https://issuer.example", flow="code", client_id="app")
KEY = grant_key(PROFILE)
SLOT = TokenKey(grant=KEY)


class World(OneByOne):
    """Issuer and log. Linked, it ends a grant and all its tokens with any one of them."""

    def __init__(self, *, is_linked: bool) -> None:
        self.alive = {"r1", "t1", "t2"}
        self.asked: list[str] = []
        self.is_linked = is_linked

    def revoke(self, _profile: Profile, value: Secret, *_: object) -> RevocationOutcome:
        """Revoke a token."""
        self.asked.append(value.reveal())
        self.alive.discard(value.reveal())
        if self.is_linked:
            self.alive.clear()
        return RevocationOutcome(outcome="revoked")

    def append(self, *_: object, **__: object) -> int:
        """Write a record: the log's own faults are tried elsewhere."""
        return 1


def revoke(store: FileStore, world: Any) -> None:  # noqa: ANN401 - it stands for link and log
    """Revoke as the command does."""
    Revoker(store, world, RING, world).revoke(PROFILE, KEY)


def _each(
    tmp_path: Path, mode: str, *, is_linked: bool
) -> Iterator[tuple[FileStore, World, FaultySystem]]:
    begun = str(tmp_path / "start")
    with open_store(begun, FaultySystem()).lock_grant(KEY, soon()) as locked:
        for value in ("t1", "t2"):
            token = make_token(value, 10_000_000, time.time())  # the store's clock is fast
            locked.commit(Change(grant=make_grant(key=KEY), token_key=SLOT, token=token))
    for nth in itertools.count(1):
        folder = str(tmp_path / f"{mode}-{nth}")
        shutil.copytree(begun, folder)
        system, world = FaultySystem(nth, mode, names=CHANGING), World(is_linked=is_linked)
        with contextlib.suppress(BrokerError, Killed):
            revoke(open_store(folder, system), world)
        yield open_store(folder, FaultySystem()), world, system
        shutil.rmtree(folder)
        if not system.has_struck:
            assert nth > 10
            break


@pytest.mark.parametrize("is_linked", [False, True], ids=["each by itself", "linked"])
@pytest.mark.parametrize("mode", [*MODES, STUCK])
def test_what_a_revocation_left(tmp_path: Path, mode: str, *, is_linked: bool) -> None:
    """Whichever call goes wrong: nothing dead is served, and what lives is reached by the next.

    A grant that is called alive here is honoured by the issuer; one that is not is in the queue.
    """
    for store, world, system in _each(tmp_path, mode, is_linked=is_linked):
        served = store.find_token(SLOT, time.time(), 0)
        assert served is None or served.value.reveal() in world.alive, system.calls
        with store.lock_grant(KEY, soon()) as locked:
            grant, queue = locked.state.grant, {one.value.reveal() for one in locked.state.queue}
        assert grant is not None
        is_called_alive = grant.dead_why is None
        assert not is_called_alive or "r1" in world.alive, system.calls
        assert is_called_alive or "r1" not in world.alive or "r1" in queue, system.calls
        revoke(store, world)
        assert not world.alive, system.calls
        with store.lock_grant(KEY, soon()) as locked:
            assert locked.state.queue == (), system.calls
            assert locked.state.grant is not None
            assert locked.state.grant.dead_why is not None
        assert world.asked[0] == "r1", "else a new token could be minted meanwhile"
