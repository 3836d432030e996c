"""A login that was cut off, then a refresh, then any command that tends: the grant lives on."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import policy
from brokerctl.broker.issuer import RevocationOutcome
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import DecidedRequest
from brokerctl.broker.revoke import Revoker
from brokerctl.errors import BrokerError
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.oauth.tokens import TokenAnswer
from brokerctl.platform.system import os
from brokerctl.secret import Secret
from tests.faults.faulty import CHANGING, KILL, STUCK, FaultySystem, Killed
from tests.faults.test_login_faults import KEY, PROFILE, World
from tests.store_room import NOW, RING, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path


class Link:
    """The same issuer at a refresh. It rotates: to revoke a used token ends its heir (RFC 9700)."""

    def __init__(self, world: World) -> None:
        self.world = world

    def context(self, *_: object, **__: object) -> None:
        """Know nothing that a refresh would need: no step of it is looked at."""

    def run(self, *_: object) -> TokenAnswer:
        """Answer a refresh of the first login's token."""
        self.world.alive.discard("r1")
        self.world.alive.add("heir of r1")
        return TokenAnswer(
            access_token=Secret("t"),
            token_type="Bearer",
            expires_in=3600,
            scopes=(),
            refresh_token=Secret("heir of r1"),
            sent_at=NOW,
        )

    def revoke(self, _profile: Profile, value: Secret, *_: object) -> RevocationOutcome:
        """End the token and its heir."""
        self.world.alive -= {value.reveal(), f"heir of {value.reveal()}"}
        return RevocationOutcome(outcome="revoked")


def refresh(folder: str, world: World, link: Any) -> None:  # noqa: ANN401 - a stand-in
    """Refresh the grant that is held."""
    log: Any = world
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
    order = DecidedRequest(PROFILE, request, policy.decide(PROFILE, request))
    store = open_store(folder)
    with store.lock_grant(KEY, soon()) as locked:
        Redeemer(store, log, RING, link)(order, locked)


@pytest.mark.slow("every system call of a login, and a refresh after it")
@pytest.mark.parametrize("mode", [KILL, STUCK])
def test_what_was_queued_is_not_revoked_with_its_heirs(tmp_path: Path, mode: str) -> None:
    """An old refresh token that a cut-off login queued is no more to be revoked once redeemed."""
    start = tmp_path / "start"
    World().log_in(str(start), FaultySystem())
    nth, tried = 0, 0
    while True:
        nth += 1
        folder = str(tmp_path / f"{mode}-{nth}")
        shutil.copytree(start, folder)
        world = World()
        world.alive, world.count = {"r1"}, 1
        system = FaultySystem(nth, mode, names=CHANGING)
        with contextlib.suppress(BrokerError, Killed):
            world.log_in(folder, system)
        grant = open_store(folder).find_grant(KEY)
        if world.count == 2 and grant is not None and grant.refresh_token == Secret("r1"):
            tried += 1
            link: Any = Link(world)
            log: Any = world
            refresh(folder, world, link)
            Revoker(open_store(folder), log, RING, link).retry(PROFILE, KEY)
            assert "heir of r1" in world.alive, system.calls[-3:]
        if not system.has_struck:
            break
    assert tried > 1
