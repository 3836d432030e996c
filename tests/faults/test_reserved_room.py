"""The room that a refresh takes before it asks: used, given back, and what comes where it fails."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.unanswered_requests import LIVED_ON
from brokerctl.errors import StoreError
from brokerctl.platform.private_files import TEMPORARY
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from tests.faults.faulty import CHANGING, FAIL, KILL, STUCK, FaultySystem
from tests.faults.test_refresh_faults import KEY, PERSON, World, make_order, refresh, start
from tests.store_room import RING, make_intent, make_queued, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path


def _reserved(folder: str) -> list[str]:
    """Return what lies in a store under a temporary name."""
    found = [name for _, _, names in os.walk(folder) for name in names]
    return [name for name in found if name.startswith(TEMPORARY)]


def test_what_a_killed_holder_had_reserved_is_taken_over(tmp_path: Path) -> None:
    """Its room is no litter that fills the disk: the next holder makes it its own, and tidies."""
    folder = str(tmp_path / "store")
    start(folder, PERSON)
    for _ in range(3):
        refresh(folder, FaultySystem(1, KILL, names=("rename",)))  # the intent's
        assert len(_reserved(folder)) == 2
    assert refresh(folder, FaultySystem()).error is None
    assert _reserved(folder) == []


@pytest.mark.parametrize("nth", [1, 2, 3, None])
def test_room_that_was_not_needed_is_given_back(tmp_path: Path, nth: int | None) -> None:
    """Whatever is stored elsewhere, or not at all since the issuer refuses, nothing stays."""
    folder = str(tmp_path / "store")
    start(folder, PERSON)
    if nth is None:
        with open_store(folder).lock_grant(KEY, soon()) as locked:
            locked.intend(make_intent())
            locked.withdraw()
    else:
        system = FaultySystem(nth, FAIL, names=("ftruncate", "rename"))
        assert refresh(folder, system).error is None
    assert _reserved(folder) == []


def test_only_what_could_be_lost_is_waited_for(tmp_path: Path) -> None:
    """Once the grant is stored, a slot that fails is left to the next holder."""
    folder = str(tmp_path / "store")
    start(folder, PERSON)
    system = FaultySystem(3, STUCK, names=("rename",))
    assert isinstance(refresh(folder, system).error, StoreError)
    assert system.slept_s < 1
    store = open_store(folder, system)
    with store.lock_grant(KEY, soon()) as locked:
        locked.persist(work_time() + 1000)
    with pytest.raises(StoreError), store.lock_grant(KEY, soon()) as locked:
        locked.enqueue(make_queued())
    assert system.slept_s < 1


class NoGrants(FaultySystem):
    """A disk that takes everything but a new grant."""

    def rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:  # type: ignore[override]  # as the store calls it
        """Refuse a name in the folder of grants that is a grant's."""
        folder = os.readlink(f"/proc/self/fd/{dst_dir_fd}")
        if folder.endswith("/grants") and "." not in new:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def test_a_grant_that_the_disk_lost_is_not_blamed_on_a_crash(tmp_path: Path) -> None:
    """Who lived on and could not store the answer notes that, and the grant's end says no more."""
    folder = str(tmp_path / "store")
    start(folder, PERSON)
    system = NoGrants()
    system.rename = NoGrants.rename.__get__(system)  # type: ignore[method-assign]  # a fault of this test's own
    store = open_store(folder, system)
    world: Any = World(store)
    with pytest.raises(StoreError, match="is lost"), store.lock_grant(KEY, soon()) as locked:
        Redeemer(store, world, RING, world)(make_order(), locked)
    with open_store(folder).lock_grant(KEY, soon()) as locked:
        intent = locked.state.earlier_intent
    assert intent is not None
    assert intent.pid == LIVED_ON


def test_who_waited_takes_the_disks_error_too(tmp_path: Path) -> None:
    """Each of a crowd would send a request of its own whose answer can't be stored either."""
    folder = str(tmp_path / "store")
    start(folder, PERSON)
    world = refresh(folder, FaultySystem(5, STUCK, names=("fsync",)), rotates=False)
    assert isinstance(world.error, StoreError)
    failure = open_store(folder).find_failure(KEY)
    assert failure is not None
    assert (failure.message, failure.exit_code) == (world.error.message, 6)
    assert failure.retry_at <= time.time()
    assert refresh(folder, FaultySystem()).error is None
    assert open_store(folder).find_failure(KEY) is None


def test_what_is_given_its_name_is_on_the_disk(tmp_path: Path) -> None:
    """Before each rename the file is synced, after it the folder: in reserved room as elsewhere."""
    folder = str(tmp_path / "store")
    start(folder, PERSON)
    system = FaultySystem(names=CHANGING)
    refresh(folder, system)
    names = [call.split()[1] for call in system.calls]
    renames = [index for index, name in enumerate(names) if name == "rename"]
    assert len(renames) == 4  # of intent, grant, slot, and bound endpoints
    assert "ftruncate" in names
    assert {(names[index - 1], names[index + 1]) for index in renames} == {("fsync", "fsync")}


def test_room_that_comes_back_in_time(tmp_path: Path) -> None:
    """The successor waits in memory for as long as the request may take, and then it is stored."""
    folder = str(tmp_path / "store")
    start(folder, PERSON)
    system = FaultySystem(2, STUCK, code=errno.ENOSPC, names=("rename",), last=12)
    world = refresh(folder, system)
    assert world.error is None
    assert system.slept_s > 1
    grant = open_store(folder).find_grant(KEY)
    assert grant is not None
    assert grant.refresh_token == Secret("r2")
