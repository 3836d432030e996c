"""Every system call of a refresh fails, or is the last one: no access token lives on unlisted."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import policy
from brokerctl.broker import Broker
from brokerctl.broker.issuer import RevocationOutcome
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import DecidedRequest, grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.config.plan import Plan
from brokerctl.errors import AuditError, BrokerError, IssuerError, StoreError
from brokerctl.model import Profile, Requester, TokenKey, TokenRequest
from brokerctl.oauth.metadata import Metadata
from brokerctl.oauth.tokens import TokenAnswer
from brokerctl.secret import Secret
from brokerctl.store.entry import GRANT, TOKEN
from brokerctl.store.inventory import list_held
from brokerctl.store.slots import find_cut_off
from brokerctl.store.values import Change
from tests.audit_log import OneByOne
from tests.faults.faulty import CHANGING, FAIL, KILL, LATE, MODES, STUCK, FaultySystem, Killed
from tests.store_room import (
    RING,
    make_grant,
    make_token,
    open_store,
    soon,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brokerctl.platform.system import System
    from brokerctl.store.file import FileStore

PERSON = Profile(name="p", issuer="https://issuer.example", flow="code", client_id="app")
NOBODY = PERSON.replace(flow="client_credentials")
KEY = grant_key(PERSON)
PROFILES = pytest.mark.parametrize("profile", [PERSON, NOBODY], ids=["grant", "no grant"])


class World(OneByOne):
    """Issuer and log: what it issued is alive until it is told to revoke it.

    As at many issuers, revoking any token of a person's grant ends the grant and all its tokens.
    """

    def __init__(self, store: FileStore, *, rotates: bool = True) -> None:
        self.store = store
        self.rotates = rotates
        self.alive: set[str] = set()
        self.honoured = {"r1"}  # refresh tokens
        self.count = 1
        self.records: list[tuple[str, str | None]] = []
        self.local: set[str | None] = set()  # recorded as alive, by fingerprint
        self.error: BrokerError | None = None
        self.is_down = False

    def context(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - a stand-in
        """Return what the steps of a flow need to know: they are not run here."""
        return SimpleNamespace(metadata=Metadata(issuer=PERSON.issuer))

    def run(self, profile: Profile, *_: object) -> TokenAnswer:
        """Issue one more access token, and rotate where this issuer does."""
        self.count += 1
        self.alive.add(f"t{self.count}")
        is_person = profile.flow == "code"
        if is_person and self.rotates:
            self.honoured = {f"r{self.count}"}
        return TokenAnswer(
            access_token=Secret(f"t{self.count}"),
            token_type="Bearer",
            expires_in=3600,
            scopes=(),
            refresh_token=Secret(f"r{self.count}") if is_person and self.rotates else None,
            sent_at=time.time(),
        )

    def revoke(self, profile: Profile, value: Secret, *_: object) -> RevocationOutcome:
        """Revoke a token, unless down."""
        if self.is_down:
            raise IssuerError("down")
        self.alive.discard(value.reveal())
        if profile.flow == "code":
            self.honoured.clear()
            self.alive.clear()
        return RevocationOutcome(outcome="revoked")

    def append(self, event: str, fields: dict[str, Any], *, durable: bool = False) -> int:
        """Remember an event; those of a change of the grant are durable."""
        assert durable
        self.records.append((event, fields.get("reason")))
        if fields.get("outcome") == "local_only":
            self.local.add(fields["fingerprint"])
        return len(self.records)


def make_order(profile: Profile = PERSON, **asked: tuple[str, ...]) -> DecidedRequest:
    """Make the order of a plain request, or of a narrower one."""
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
    request = request.replace(**asked)
    return DecidedRequest(profile, request, policy.decide(profile, request))


def start(folder: str, profile: Profile) -> None:
    """Store what a login leaves."""
    if profile.flow == "code":
        key = grant_key(profile)
        with open_store(folder).lock_grant(key, soon()) as locked:
            token = make_token("t1", issued_at=time.time() - 4000)
            slot = TokenKey(grant=key)
            locked.commit(Change(grant=make_grant(key=key), token_key=slot, token=token))


def refresh(
    folder: str, system: System, profile: Profile = PERSON, *, rotates: bool = True
) -> World:
    """Refresh once; return the world after it."""
    store = open_store(folder, system)
    world: Any = World(store, rotates=rotates)
    order = make_order(profile)
    try:
        with store.lock_grant(order.grant_key, soon()) as locked:
            Redeemer(world.store, world, RING, world)(order, locked)
    except (BrokerError, Killed) as error:
        assert isinstance(system, FaultySystem)
        assert system.has_struck
        world.error = error
    made: World = world
    return made


def revoke(folder: str, world: World, profile: Profile = PERSON) -> None:
    """Revoke as the command does."""
    link: Any = world
    world.store = open_store(folder, FaultySystem())
    Revoker(world.store, link, RING, link).revoke(profile, grant_key(profile))


def _each(
    tmp_path: Path, mode: str, profile: Profile, *, rotates: bool
) -> Iterator[tuple[str, World, FaultySystem]]:
    """Refresh once for each call that can go wrong; yield what each left."""
    begun = tmp_path / "start"
    start(str(begun), profile)
    open_store(str(begun))
    for nth in itertools.count(1):
        folder = str(tmp_path / f"{mode}-{nth}")
        shutil.copytree(begun, folder)
        system = FaultySystem(nth, mode, names=CHANGING, code=errno.ENOSPC)
        yield folder, refresh(folder, system, profile, rotates=rotates), system
        shutil.rmtree(folder)
        if not system.has_struck:
            assert nth > 10
            break


ISSUERS = pytest.mark.parametrize("rotates", [True, False], ids=["rotating", "not rotating"])
ALL_MODES = pytest.mark.parametrize("mode", [*MODES, STUCK])


def _is_in_order(world: World, mode: str, system: FaultySystem, folder: str) -> None:
    """Hold a person's grant to promise 3, and what is served to what is alive."""
    store = open_store(folder)
    grant = store.find_grant(grant_key(PERSON))
    assert grant is not None
    assert grant.refresh_token is not None
    if grant.refresh_token.reveal() not in world.honoured:
        assert world.rotates, system.calls
        assert mode in {KILL, STUCK}, system.calls
        if mode == STUCK:
            assert isinstance(world.error, StoreError)
            assert "'p' is lost" in world.error.message
            assert system.slept_s > PERSON.timeout_s - 2  # it was tried for long
    if mode in {FAIL, LATE} and world.count == 2:
        assert world.error is None, system.calls  # the second try is stored


@PROFILES
@pytest.mark.parametrize("rotates", [True, False], ids=["rotating", "not rotating"])
@pytest.mark.parametrize("mode", [*MODES, STUCK])
def test_no_fault_of_the_disk_ends_a_grant_or_hides_a_token(
    tmp_path: Path, mode: str, profile: Profile, *, rotates: bool
) -> None:
    """What is on the disk is what the issuer honours, or it is said that the grant is lost.

    One fault is never enough for that. A revoke leaves nothing alive that is not recorded as
    alive, unless the kill was before the disk had the answer, and then an intent says so.
    """
    for folder, world, system in _each(tmp_path, mode, profile, rotates=rotates):
        if profile is PERSON:
            _is_in_order(world, mode, system, folder)
        served = open_store(folder).find_token(make_order(profile).token_key, time.time(), 0)
        assert served is None or served.value.reveal() in world.alive, system.calls
        with open_store(folder).lock_grant(grant_key(profile), soon()) as locked:
            grant, intent = locked.state.grant, locked.state.earlier_intent
        at = grant.generation if grant else 0
        revoke(folder, world, profile)
        unknown = {one for one in world.alive if RING.fingerprint(one) not in world.local}
        if unknown:
            assert mode == KILL, system.calls
            assert intent is not None, system.calls
            assert intent.generation == at, system.calls


def _cut_off(folder: str) -> World:
    """Refresh and be killed as soon as the grant is stored, before its slot is."""
    start(folder, PERSON)
    system = FaultySystem(names=("rename",))
    shutil.copytree(folder, f"{folder}-counted")
    refresh(f"{folder}-counted", system)
    # The last three are the grant's, its slot's, and that of the endpoints which it is bound to.
    last = FaultySystem(system.count - 2, KILL, names=("rename",))
    return refresh(folder, last)


def test_the_next_holder_gets_the_token_of_the_one_before(tmp_path: Path) -> None:
    """One refresh is enough: what was killed between grant and slot is finished and recorded."""
    folder = str(tmp_path / "store")
    assert _cut_off(folder).records == []
    store = open_store(folder)
    assert [grant.generation for grant in find_cut_off(store)] == [2]
    world = refresh(folder, FaultySystem())
    assert (world.count, world.records) == (
        1,
        [("grant.refreshed", "finished after an interruption")],
    )
    found = store.find_token(make_order().token_key, time.time(), 0)
    assert found is not None
    assert (found.value.reveal(), found.generation) == ("t2", 2)
    assert list(find_cut_off(store)) == []


@pytest.mark.parametrize(
    "asked", [{"scopes": ("b",)}, {"resource": ("https://b.example",)}, {}, {"scopes": ("a",)}]
)
def test_a_finished_token_answers_its_own_request_alone(
    tmp_path: Path, asked: dict[str, tuple[str, ...]]
) -> None:
    """Who asks for another scope or resource finishes what was cut off, and gets its own token."""
    wide = PERSON.replace(scopes=("a", "b"), resource=("https://a.example", "https://b.example"))
    folder = str(tmp_path / "store")
    start(folder, wide)
    open_store(folder)
    cut = FaultySystem(2, KILL, names=("rename",))  # right after the grant's: no slot is written
    first, other = make_order(wide, scopes=("a",)), make_order(wide, **asked)
    answered: list[str] = []
    for order, system, count in ((first, cut, 1), (other, FaultySystem(), 10)):
        store = open_store(folder, system)
        world: Any = World(store)
        world.count = count
        with (
            contextlib.suppress(Killed),
            store.lock_grant(order.grant_key, soon()) as locked,
        ):
            answered.append(Redeemer(world.store, world, RING, world)(order, locked).value.reveal())
    is_same = other.token_key == first.token_key
    assert answered == ["t2" if is_same else "t11"]
    held = open_store(folder).find_token(first.token_key, time.time(), 0)
    assert held is not None
    assert held.value.reveal() == "t2"


def test_what_the_issuer_ended_is_not_served_after_it(tmp_path: Path) -> None:
    """Where each refresh ends the tokens before, whoever finishes one ends those here too."""
    folder, key = str(tmp_path / "store"), grant_key(PERSON)
    other = make_order().token_key.replace(scopes=("other",))
    store = open_store(folder)
    with store.lock_grant(key, soon()) as locked:
        locked.commit(Change(token_key=other, token=make_token("t0", None, time.time())))
    _cut_off(folder)
    assert store.find_token(other, time.time(), 0) is not None
    refresh(folder, FaultySystem(), PERSON.replace(refresh_ends_previous=True))
    assert store.find_token(other, time.time(), 0) is None


def test_any_command_that_tends_lists_it(tmp_path: Path) -> None:
    """`status`, `login` and `revoke` finish it first, say so in the record, and only once."""
    folder = str(tmp_path / "store")
    world = _cut_off(folder)
    store, link = open_store(folder), world
    revoker = Revoker(store, link, RING, link)  # type: ignore[arg-type]  # the world stands in
    (grant,) = find_cut_off(store)
    assert revoker.finish(PERSON, grant.key)
    assert not revoker.finish(PERSON, grant.key)
    assert world.records == [("grant.refreshed", "finished after an interruption")]
    assert store.find_token(make_order().token_key, time.time(), 0) is not None


def test_it_is_listed_before_anybody_tends(tmp_path: Path) -> None:
    """`audit tokens` takes no lock and changes nothing, and shows the token all the same, once."""
    folder = str(tmp_path / "store")
    _cut_off(folder)

    def listed() -> list[str | None]:
        store = open_store(folder)
        grants, held = store.entries(GRANT), store.entries(TOKEN)
        found = list_held(grants, held, RING.fingerprint, time.time(), find_cut_off(store))
        return [one.fingerprint for one in found if one.kind == "token"]

    before = listed()
    assert sorted(map(str, before)) == sorted(RING.fingerprint(value) for value in ("t1", "t2"))
    refresh(folder, FaultySystem())
    assert sorted(map(str, listed())) == sorted(map(str, before))


@PROFILES
def test_a_token_that_nobody_knows_is_in_the_record(tmp_path: Path, profile: Profile) -> None:
    """Killed before the disk had the answer: the next request says so, and only that one."""
    folder = str(tmp_path / "store")
    start(folder, profile)
    open_store(folder)
    intent_alone = FaultySystem(1, KILL, names=("rename",))
    assert refresh(folder, intent_alone, profile).records == []
    (first,) = refresh(folder, FaultySystem(), profile).records
    assert first[1] is not None
    assert re.fullmatch(
        r"an earlier request was cut off at \S+Z: a token of it may be alive until it expires",
        first[1],
    )
    key = make_order(profile).token_key
    with open_store(folder).lock_grant(key.grant, soon()) as locked:
        locked.settle(RING.fingerprint("t2"), "expired")  # so that it is not served again
    (second,) = refresh(folder, FaultySystem(), profile).records
    assert second == (first[0], None)


def test_a_login_lists_the_token_of_a_refresh_that_was_cut_off(tmp_path: Path) -> None:
    """Whatever the next holder came for, the intent is replaced only when the slot is written."""
    folder = str(tmp_path / "store")
    _cut_off(folder)
    store, key = open_store(folder), grant_key(PERSON)
    with store.lock_grant(key, soon()) as locked:
        change = Change(grant=make_grant("r3", key), token_key=make_order().token_key)
        locked.commit(change.replace(token=make_token("t3")))
        (slot,) = locked.state.slots
    assert slot.current is not None
    held = [token.fingerprint for token in (slot.current, *slot.superseded)]
    assert held == [RING.fingerprint(value) for value in ("t3", "t2", "t1")]


@PROFILES
def test_what_no_disk_takes_and_no_issuer_ends(tmp_path: Path, profile: Profile) -> None:
    """A client's own token is queued for later commands; a person's is left alone and recorded."""
    folder = str(tmp_path / "store")
    start(folder, profile)
    open_store(folder)
    order = make_order(profile)
    # The first rename is the intent's, the next three are the tries of what the answer brought.
    store = open_store(folder, FaultySystem(2, STUCK, names=("rename",), last=4))
    world: Any = World(store, rotates=False)
    world.is_down = True
    with (
        pytest.raises(StoreError),
        store.lock_grant(order.grant_key, soon()) as locked,
    ):
        Redeemer(world.store, world, RING, world)(order, locked)
    with open_store(folder).lock_grant(order.grant_key, soon()) as locked:
        queued = [item.value.reveal() for item in locked.state.queue]
    assert queued == ([] if profile is PERSON else ["t2"])
    assert (RING.fingerprint("t2") in world.local) is (profile is PERSON)


@pytest.mark.parametrize(
    ("error", "told"), [(StoreError("it is lost"), StoreError), (IssuerError("down"), AuditError)]
)
def test_a_full_disk_does_not_hide_what_it_cost(
    tmp_path: Path, error: BrokerError, told: type[BrokerError]
) -> None:
    """Where the store and the log fail alike, the lost grant is told; else no record, no answer."""
    folder = str(tmp_path / "store")
    start(folder, PERSON)

    def fail(*_: object, **__: object) -> Any:  # noqa: ANN401 - it never returns
        raise error

    def refuse(*_: object, **__: object) -> int:
        raise AuditError("no space left")

    log: Any = SimpleNamespace(append=refuse)
    broker = Broker(Plan(profiles={"p": PERSON}), open_store(folder), log, fail)
    with pytest.raises(told):
        broker.get(make_order().request)
