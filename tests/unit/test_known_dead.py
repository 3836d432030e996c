"""No token whose end is known leaves: every way to learn of an end, every way to hand one out."""

from __future__ import annotations

import contextlib
import shutil
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.obtain import Obtaining
from brokerctl.errors import BrokerError, LockTimeoutError, LoginNeededError
from brokerctl.helpers.answers_without_token import reject
from brokerctl.platform.system import SYSTEM
from brokerctl.platform.work_clock import work_time
from brokerctl.store.backup import backup, restore
from tests.faults.faulty import KILL, STUCK, FaultySystem, Killed
from tests.issuer_room import KEY, PERSON, House
from tests.store_room import RING, soon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerctl.model import AccessToken

READ: dict[str, Any] = {"scopes": ("read",)}


def revoked(house: House) -> None:
    """The issuer said so."""
    house.revoker.revoke(PERSON, KEY)


def revoked_in_vain(house: House) -> None:
    """It could not be told: it is queued, and ended here all the same."""
    house.issuer.is_down = True
    assert {one.outcome for one in house.revoker.revoke(PERSON, KEY)} == {"unknown"}
    house.issuer.is_down = False


def not_revocable(house: House) -> None:
    """The issuer does not do it."""
    house.issuer.revocation = 400
    assert {one.outcome for one in house.revoker.revoke(PERSON, KEY)} == {"local_only"}


def invalid_grant(house: House) -> None:
    """A refresh found the grant dead, and with it goes what it gave."""
    house.issuer.alive.clear()
    with pytest.raises(LoginNeededError):
        house.get(is_fresh=True)


def dead_after_login(house: House) -> None:
    """Two logins on one consent: introspection calls the new token dead."""
    house.issuer.is_consent = True
    with pytest.raises(LoginNeededError, match="together with the grant before"):
        house.log_in()


def logged_in_again(house: House) -> None:
    """Another grant has taken its place, and the old one is revoked."""
    house.log_in()
    assert not any(value.endswith("-g1") for value in house.issuer.alive)


def refused_by_a_server(house: House) -> None:
    """A tool's `erase` names it."""
    for request in (house.request(), house.request(**READ)):
        stand_in: Any = SimpleNamespace(
            plan=house.broker.plan,
            store=house.store,
            ring=RING,
            log=house.log,
            broker=house.broker,
        )
        assert reject(stand_in, request, None, is_any=True)


def restored(house: House) -> None:
    """It is of a backup that was made before it was revoked, and put back into an empty store."""
    archive, _ = backup(house.store, bytes(32), {"name": "none"})
    house.revoker.revoke(PERSON, KEY)
    house.folder += "-restored"
    house.open()
    report = restore(house.store, archive, lambda _: bytes(32))
    assert not report.refused


def issuer_ends_previous(house: House) -> None:
    """One access token a grant: a refresh ended the others."""
    profile = PERSON.replace(refresh_ends_previous=True)
    house.profiles["p"] = profile
    house.get(is_fresh=True, **READ)


def ended_by_a_session(house: House) -> None:
    """A session's token was revoked, and the issuer ended its whole grant with it."""
    house.issuer.is_family = True
    house.own("s1")
    house.revoker.revoke_session(PERSON, KEY, "s1")


def found_dead_after_a_session(house: House) -> None:
    """The same, where introspection tells nothing and a refresh finds it out."""
    house.issuer.knows = ""
    ended_by_a_session(house)
    with pytest.raises(LoginNeededError):
        house.get(is_fresh=True)


WAYS = [
    ended_by_a_session,
    found_dead_after_a_session,
    revoked,
    revoked_in_vain,
    not_revocable,
    invalid_grant,
    dead_after_login,
    logged_in_again,
    refused_by_a_server,
    restored,
    issuer_ends_previous,
]


def plain(house: House) -> AccessToken:
    """As the profile says: `get`, every helper, a session that shares."""
    return house.get()


def scoped(house: House) -> AccessToken:
    """Narrowed, from a slot of its own."""
    return house.get(**READ)


def short(house: House) -> AccessToken:
    """With next to nothing left."""
    return house.get(min_ttl_s=0)


def while_down(house: House) -> AccessToken:
    """From the store, the issuer not being there."""
    house.issuer.is_down = True
    return house.get(min_ttl_s=3600)


def own(house: House) -> AccessToken:
    """A session's own."""
    return house.own("session")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Log a person in, and get a token of each slot."""
    made = House(str(tmp_path / "store"))
    made.log_in()
    scoped(made)
    return made


@pytest.mark.parametrize("hand_out", [plain, scoped, short, while_down, own])
@pytest.mark.parametrize("way", WAYS)
def test_no_token_whose_end_is_known_leaves(
    house: House, way: Callable[[House], None], hand_out: Callable[[House], AccessToken]
) -> None:
    """Whatever was learnt of its end, and by whichever way it is asked for: another, or none."""
    before = {token.value.reveal() for token in house.tokens() if token.value}
    way(house)
    try:
        token = hand_out(house).value.reveal()
    except BrokerError:
        return  # nothing is served, which is never a token that ended
    assert token not in before
    assert token in house.issuer.alive


def test_a_refresh_serves_what_it_did_before(house: House) -> None:
    """A token that nobody ended is served by every one of these ways: the table is not empty."""
    before = {token.value.reveal() for token in house.tokens() if token.value}
    ways = (plain, scoped, short, while_down)
    assert all(hand_out(house).value.reveal() in before for hand_out in ways)


def test_what_is_waited_for_in_vain_may_have_ended_it(house: House) -> None:
    """The token that was found before the wait is looked for again: `revoke` held the lock."""
    store = house.store
    order = house.broker.find_decision(house.request(min_ttl_s=7200))
    held = order.find_in(store)
    assert held is not None

    def wait(*_: object) -> None:
        with store.lock_grant(KEY, soon()) as locked:
            locked.settle(held.fingerprint, "unknown")
        raise LockTimeoutError("the grant is locked")

    stand_in: Any = SimpleNamespace(
        find_failure=lambda _: None, find_token=store.find_token, wait_for_another=wait
    )
    with pytest.raises(LockTimeoutError):
        Obtaining(stand_in, house.redeemer, order).run()


def test_its_value_is_kept_where_it_may_live(house: House) -> None:
    """What a dead grant gave may be alive at the issuer: `revoke` reaches it."""
    invalid_grant(house)
    assert {token.status for token in house.tokens()} == {"superseded"}
    house.revoker.revoke(PERSON, KEY)
    told = [value for endpoint, value in house.issuer.sent if endpoint == "revoke"]
    assert len(told) == 2


def test_a_slot_that_cannot_be_written_keeps_no_other_in_service(house: House) -> None:
    """The first of two slots fails: the other is retired, and the end is not called done."""
    house.open(FaultySystem(1, STUCK, names=("rename",), last=2))
    with (
        pytest.raises(BrokerError),
        house.store.lock_grant(KEY, work_time() + 20) as locked,
    ):
        locked.end(locked.state.generation, "why")
    assert sorted(token.status for token in house.tokens()) == ["live", "superseded"]


@pytest.mark.parametrize(("mode", "tries"), [(KILL, 0), (STUCK, 3), (STUCK, 99)])
def test_a_login_that_is_cut_off_anywhere_leaves_none_in_service(
    tmp_path: Path, mode: str, tries: int
) -> None:
    """Whichever rename of a second login fails: the old grant, once revoked, serves no token."""
    begun = House(str(tmp_path / "begun"))
    begun.log_in()
    scoped(begun)
    nth = 0
    while True:
        nth += 1
        house = House(str(tmp_path / str(nth)), system=SYSTEM)
        shutil.copytree(begun.folder, house.folder, dirs_exist_ok=True)
        house.issuer.alive, house.logins = set(begun.issuer.alive), 1
        faulty = FaultySystem(nth, mode, names=("rename",), last=nth + tries - 1)
        house.open(faulty)
        with contextlib.suppress(BrokerError, Killed):
            house.log_in()
        house.open()
        house.revoker.retry(PERSON, KEY)  # as any later command does
        for request in (house.request(), house.request(**READ)):
            key = house.broker.find_decision(request).token_key
            token = house.store.find_token(key, time.time(), 0)
            assert token is None or token.value.reveal() in house.issuer.alive, faulty.calls
        if not faulty.has_struck:
            break
    assert nth > 5
