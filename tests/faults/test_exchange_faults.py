"""An exchange for less than a grant holds: each call to the disk fails, or is the last one."""

from __future__ import annotations

import errno
import itertools
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import BrokerError
from tests.faults.faulty import CHANGING, FAIL, KILL, LATE, MODES, STUCK, FaultySystem, Killed
from tests.issuer_room import KEY, PERSON, URL
from tests.narrowing_issuer import IGNORES, NARROWS, NarrowingHouse, NarrowingIssuer
from tests.store_room import RING, soon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brokerctl.oauth.message import HttpRequest, HttpResponse

# What the issuer does: it narrows; it gives a refresh token along; what it gives can't be used; it
# gives the whole, so that a refresh follows; its refresh gives the whole, which is exchanged.
HABITS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "narrows": (NARROWS, NARROWS, {}),
    "a refresh token too": (NARROWS, NARROWS, {"refresh_token": "r-surplus"}),
    "unusable": (NARROWS, NARROWS, {"token_type": "N_A"}),
    "ignores": (IGNORES, NARROWS, {}),
    "after a refresh": (NARROWS, IGNORES, {}),
}


class Fault:
    """One request for less by a process whose disk has a fault."""

    def __init__(self, folder: str, habit: str, system: FaultySystem) -> None:
        exchange, refresh, more = HABITS[habit]
        issuer = NarrowingIssuer(exchange, refresh)
        self.house = NarrowingHouse(folder, issuer, system=FaultySystem())
        if habit == "after a refresh":
            self._end_tokens()
        issuer.more = more
        self.system, self.habit = system, habit
        self.house.open(system)
        self.error: BaseException | None = None
        self.value: str | None = None
        try:
            self.value = self.house.narrow()
        except (BrokerError, Killed) as error:
            self.error = error
        self.house.open(FaultySystem())

    def _end_tokens(self) -> None:
        with self.house.store.lock_grant(KEY, soon()) as locked:
            held = [slot.current for slot in locked.state.slots if slot.current is not None]
            locked.settle_all({one.fingerprint: "expired" for one in held})
            for one in held:
                self.house.issuer.alive.discard(one.value.reveal())

    def told(self) -> set[str]:
        """Return the fingerprints that the record calls alive here and now."""
        records = [fields for _, fields in self.house.log.records]
        return {one["fingerprint"] for one in records if one.get("outcome") == "local_only"}


def each(tmp_path: Path, mode: str, habit: str) -> Iterator[Fault]:
    """Ask once for each call that can go wrong; yield what that left."""
    for nth in itertools.count(1):
        folder = str(tmp_path / f"{mode}-{nth}")
        system = FaultySystem(nth, mode, names=CHANGING, code=errno.ENOSPC)
        yield Fault(folder, habit, system)
        shutil.rmtree(folder)
        if not system.has_struck:
            assert nth > 10
            break


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("mode", [*MODES, STUCK])
def test_no_fault_of_the_disk_hides_a_token_or_ends_a_grant(
    tmp_path: Path, mode: str, habit: str
) -> None:
    """What is served is alive, the grant is honoured, and a revoke leaves nothing that is not told.

    But for a kill before the disk had the answer, and then `revoke` says that one may be alive.
    """
    for one in each(tmp_path, mode, habit):
        house, issuer, calls = one.house, one.house.issuer, one.system.calls
        grant = house.store.find_grant(KEY)
        assert grant is not None
        assert grant.refresh_token is not None
        has_refreshed = any("refresh_token" in form for form in issuer.forms)
        if grant.refresh_token.reveal() not in issuer.alive:
            assert has_refreshed, calls
            assert mode in {KILL, STUCK}, calls
        assert one.value is None or one.value in issuer.alive, calls
        if one.value is not None:  # no token without its record
            assert RING.fingerprint(one.value) in {
                fields["fingerprint"] for fields in house.log.of("token.handed_out")
            }
        ended = house.revoker.revoke(PERSON, KEY)
        unknown = {value for value in issuer.alive if RING.fingerprint(value) not in one.told()}
        if unknown and not has_refreshed:
            assert mode == KILL, calls
            assert any("no answer" in ending.reason for ending in ended), calls
        elif unknown:
            assert mode in {KILL, STUCK}, calls


def test_one_fault_costs_no_second_request(tmp_path: Path) -> None:
    """The issuer is asked once; the next command serves what was issued, or asks for a new one."""
    for mode in (FAIL, LATE):
        for one in each(tmp_path, mode, "narrows"):
            assert len(one.house.issuer.forms) <= 1, one.system.calls
            assert one.house.narrow() in one.house.issuer.alive, one.system.calls
            assert "refresh_token" not in str(one.house.issuer.forms), one.system.calls


class Dying(NarrowingIssuer):
    """An issuer whose client is killed right before, or right after, it is asked to exchange."""

    system: FaultySystem
    is_after = False

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer, or see the client die."""
        is_token = request.url == f"{URL}/token" and not self.system.is_dead
        if is_token and not self.is_after:
            self._die()
        answer = super().send(request, deadline)
        if is_token:
            self._die()
        return answer

    def _die(self) -> None:
        self.system.is_dead = True
        raise Killed


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_killed_around_the_request(tmp_path: Path, *, is_after: bool) -> None:
    """The next request gets its token, and both its record and `revoke` say what was cut off."""
    issuer = Dying()
    issuer.system, issuer.is_after = FaultySystem(), is_after
    house = NarrowingHouse(str(tmp_path), issuer)
    house.open(issuer.system)
    with pytest.raises(Killed):
        house.narrow()
    house.issuer = NarrowingIssuer()
    house.issuer.alive = issuer.alive
    house.open(FaultySystem())
    assert house.narrow() in issuer.alive
    assert house.issuer.asked() == ["exchange"]
    (record,) = house.log.of("token.issued")
    assert "was cut off" in record["reason"]
    ended = house.revoker.revoke(PERSON, KEY)
    assert len([one for one in ended if "no answer" in one.reason]) == 1
    assert len(house.issuer.alive) == int(is_after)
