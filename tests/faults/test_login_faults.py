"""Every system call of a login fails, or is the last one: a grant that works is always held."""

from __future__ import annotations

import contextlib
import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.issuer import RevocationOutcome
from brokerctl.broker.login import Login
from brokerctl.broker.request import grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.errors import BrokerError, IssuerError
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.oauth.message import HttpRequest, HttpResponse
from brokerctl.oauth.steps import Send
from brokerctl.oauth.tokens import TokenAnswer
from brokerctl.secret import Secret
from tests.audit_log import OneByOne
from tests.faults.faulty import (
    CHANGING,
    FAIL,
    KILL,
    LATE,
    MODES,
    SHORT,
    STUCK,
    FaultySystem,
    Killed,
)
from tests.store_room import NOW, RING, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.platform.system import System

TOKEN_URL = "https://issuer.example/token"
PROFILE = Profile(name="p", issuer="https://issuer.example", flow="code", client_id="app")
KEY = grant_key(PROFILE)


class World(OneByOne):
    """Issuer, log and person: honours what it issued until it is told to revoke it."""

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.count = 0
        self.records: list[str] = []
        self.lost: list[tuple[str, str]] = []  # what a record says of a grant that is held nowhere
        self.finished = 0
        self.is_down = False
        self.sub: str | None = None  # who logs in
        self.is_one_consent = False  # whatever grant is revoked, all end
        self.mends: FaultySystem | None = None  # a disk that works again once we are asked

    # The link to the issuer.

    def for_login(self, *_: object) -> World:
        """Fetch nothing."""
        return self

    @property
    def known(self) -> World:
        """What is known of the issuer: this stands for it too."""
        return self

    def pin(self, *_: object) -> None:
        """Pin nothing."""

    def context(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - a stand-in
        """Return what the guard needs to know."""
        return SimpleNamespace(metadata=SimpleNamespace(token_endpoint=TOKEN_URL))

    def revoke(self, _profile: Profile, value: Secret, *_: object) -> RevocationOutcome:
        """Revoke a token, unless down."""
        if self.mends is not None:
            self.mends.mode = FAIL
        if self.is_down:
            raise IssuerError("down")
        self.alive.discard(value.reveal())
        if self.is_one_consent:
            self.alive.clear()
        return RevocationOutcome(outcome="revoked")

    def introspect(self, *_: object) -> None:
        """Say nothing."""

    # The log.

    def append(self, event: str, fields: dict[str, Any], *, durable: bool = False) -> int:
        """Remember an event."""
        self.records.append(f"{event} {durable}")
        if event == "grant.revoked" and "decision" in fields:  # the login's own word of it
            self.lost.append((fields["fingerprint"], fields["outcome"]))
        return len(self.records)

    # The desk, and the driver.

    def do(self, step: object) -> HttpResponse:
        """Answer a token request: from now on there is one more grant."""
        assert isinstance(step, Send)
        self.count += 1
        self.alive.add(f"r{self.count}")
        return HttpResponse(status=200, body=b"{}")

    def run(self, _steps: object, desk: Any) -> TokenAnswer:  # noqa: ANN401 - the guard
        """Send the one request that a code login sends under the lock."""
        desk.do(Send(request=HttpRequest(method="POST", url=TOKEN_URL)))
        return TokenAnswer(
            access_token=Secret(f"t{self.count}"),
            token_type="Bearer",
            expires_in=3600,
            scopes=(),
            refresh_token=Secret(f"r{self.count}"),
            id_sub=self.sub,
            sent_at=NOW,
        )

    def log_in(self, folder: str, system: System) -> None:
        """Log in once."""
        world: Any = self
        login = Login(open_store(folder, system), world, RING, world)
        request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
        login.log_in(PROFILE, request, self.run, world)
        self.finished += 1


def _check(folder: str, world: World, calls: list[str]) -> None:
    store = open_store(folder)
    link: Any = world
    Revoker(store, link, RING, link).retry(PROFILE, KEY)  # as any later command does
    with store.lock_grant(KEY, soon()) as locked:
        state = locked.state
    assert state.damage == (), calls
    held = state.grant.refresh_token.reveal() if state.grant and state.grant.refresh_token else None
    # That of one consent ends with what it replaced, which `login` finds out and says.
    assert held in world.alive or (world.is_one_consent and held == "r2"), calls
    if world.finished == 2:
        assert held == "r2"
    if held == "r2":
        assert "r1" not in world.alive, calls


@pytest.mark.parametrize("is_one_consent", [False, True])
@pytest.mark.parametrize("mode", [*MODES, STUCK])
def test_second_login(tmp_path: Path, mode: str, *, is_one_consent: bool) -> None:
    """Whichever call of a re-login goes wrong, the old or the new grant is held and honoured."""
    start = tmp_path / "start"
    first = World()
    first.log_in(str(start), FaultySystem())
    assert first.alive == {"r1"}
    nth = 0
    while True:
        nth += 1
        folder = str(tmp_path / f"{mode}-{nth}")
        shutil.copytree(start, folder)
        world = World()
        world.alive, world.count, world.finished = {"r1"}, 1, 1
        world.is_one_consent = is_one_consent
        system = FaultySystem(nth, mode, names=CHANGING)
        try:
            world.log_in(folder, system)
        except (BrokerError, Killed):
            assert world.finished == 1
            is_kept = "grant.obtained True" in world.records
            # One fault is not enough to lose what the person came for.
            assert is_kept or mode in {KILL, STUCK, SHORT} or world.count == 1, system.calls
        _check(folder, world, system.calls)
        shutil.rmtree(folder)
        if not system.has_struck:
            break
    assert nth > 10


@pytest.mark.parametrize("mode", [FAIL, LATE, SHORT, STUCK])
def test_first_login(tmp_path: Path, mode: str) -> None:
    """A first login that can't be stored gives its grant back to the issuer."""
    nth = 0
    while True:
        nth += 1
        folder = str(tmp_path / str(nth))
        open_store(folder)
        world = World()
        system = FaultySystem(nth, mode, names=CHANGING)
        with contextlib.suppress(BrokerError):
            world.log_in(folder, system)
        grant = open_store(folder).find_grant(KEY)
        held = {grant.refresh_token.reveal()} if grant and grant.refresh_token else set()
        assert world.alive == held, system.calls
        if not system.has_struck:
            break
    assert nth > 10


@pytest.mark.parametrize("mode", [KILL, STUCK])
def test_somebody_else_s_login(tmp_path: Path, mode: str) -> None:
    """A grant that is not kept is queued, or is in the record, or its intent is still there."""
    start, first = tmp_path / "start", World()
    first.sub = "alice"
    first.log_in(str(start), FaultySystem())
    nth, has_struck = 0, True
    while has_struck:
        nth += 1
        folder = str(tmp_path / str(nth))
        shutil.copytree(start, folder)
        world = World()
        world.alive, world.count, world.sub, world.is_down = {"r1"}, 1, "mallory", True
        system = FaultySystem(nth, mode, names=CHANGING)
        with pytest.raises((BrokerError, Killed)):
            world.log_in(folder, system)
        has_struck = system.has_struck
        with open_store(folder).lock_grant(KEY, soon()) as locked:
            state = locked.state
        queued = {item.value.reveal() for item in state.queue}
        is_known = "r2" in queued or state.earlier_intent is not None
        is_known |= (RING.fingerprint("r2"), "local_only") in world.lost
        assert is_known or world.count == 1, system.calls
        assert state.grant is not None
        assert state.grant.refresh_token == Secret("r1")


@pytest.mark.parametrize("is_down", [False, True])
def test_what_no_store_took_is_in_the_record(tmp_path: Path, *, is_down: bool) -> None:
    """A grant that lies nowhere is revoked or queued, or spared for the one held; and said."""
    start, first = tmp_path / "start", World()
    first.log_in(str(start), FaultySystem())
    seen = set()
    for begun in (None, start):
        nth, has_struck = 0, True
        while has_struck:
            nth += 1
            folder = tmp_path / f"{begun is None}-{nth}"
            if begun is not None:
                shutil.copytree(begun, folder)
            open_store(str(folder))
            world = World()
            world.alive, world.count = ({"r1"}, 1) if begun else (set(), 0)
            world.is_down = is_down
            before = world.count
            system = world.mends = FaultySystem(nth, STUCK, names=("rename",))
            with contextlib.suppress(BrokerError):
                world.log_in(str(folder), system)
            has_struck = system.has_struck
            seen |= {(begun is not None, outcome) for _, outcome in world.lost}
            if world.count == before:
                continue
            _is_held_queued_or_said(str(folder), world, f"r{world.count}")
    outcome = "unknown" if is_down else "revoked"
    assert seen == {(False, outcome), (True, "local_only")}


def _is_held_queued_or_said(folder: str, world: World, value: str) -> None:
    with open_store(folder).lock_grant(KEY, soon()) as locked:
        grant, queue = locked.state.grant, locked.state.queue
    held = {grant.refresh_token.reveal()} if grant and grant.refresh_token else set()
    queued = {item.value.reveal() for item in queue}
    said = {fingerprint for fingerprint, _ in world.lost}
    assert value in held | queued or RING.fingerprint(value) in said


def test_nothing_is_sent_where_nothing_can_be_stored(tmp_path: Path) -> None:
    """On a disk that takes nothing, the code is never traded."""
    world = World()
    with pytest.raises(BrokerError):
        world.log_in(str(tmp_path / "full"), FaultySystem(1, names=("fsync",)))
    assert world.count == 0
    assert world.records == ["login.refused False"]
