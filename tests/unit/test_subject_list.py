"""Which grants a subject has: listed before anything of one is stored, whatever stops it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import StoreError
from brokerctl.model import TokenKey
from brokerctl.platform.system import System
from brokerctl.store.entry import GRANT, INTENT, TOKEN
from brokerctl.store.file.subjects import find_grants, remove_unused
from brokerctl.store.values import Change
from tests.store_room import GRANT_KEY, make_grant, make_intent, make_token, open_store, soon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import FileDescriptorLike

    from brokerctl.store import Entry
    from brokerctl.store.file import FileStore

ANN = GRANT_KEY.replace(subject="ann")


class FullDisk(System):
    """A disk on which no folder can be made."""

    def mkdir(self, *_: object, **__: object) -> None:
        """Fail."""
        raise OSError(28, "No space left on device")


class Counting(System):
    """Counts the syncs."""

    def __init__(self) -> None:
        self.syncs = 0

    def fsync(self, fd: FileDescriptorLike) -> None:
        """Count one."""
        self.syncs += 1
        System.fsync(fd)


def refuse_search(_kind: int) -> Iterator[Entry]:
    """Stand for a store that is not to be searched."""
    raise AssertionError("everything is listed")


def log_in(store: FileStore) -> None:
    """Give ann a grant and a token."""
    with store.lock_grant(ANN, soon()) as locked:
        change = Change(
            grant=make_grant(key=ANN), token_key=TokenKey(grant=ANN), token=make_token()
        )
        locked.commit(change)


def test_nothing_is_stored_that_could_not_be_found(tmp_path: Path) -> None:
    """Security: a grant that no list has would outlive its subject's `revoke`."""
    store = open_store(str(tmp_path / "store"))
    for folder in ("grants", "intents", "tokens", "locks", "metadata"):
        store.disk.child(folder)
    store.disk.child("subjects")
    store.disk.system = store.disk.folder.system = FullDisk()
    store.disk.child("subjects").system = FullDisk()
    with store.lock_grant(ANN, soon()) as locked:
        with pytest.raises(StoreError, match="no space left"):
            locked.intend(make_intent("login", 0))
        with pytest.raises(StoreError, match="no space left"):
            locked.commit(Change(grant=make_grant(key=ANN)))
    assert not list(store.entries(INTENT))
    assert not list(store.entries(GRANT))


def test_a_subject_that_is_listed_costs_no_sync(tmp_path: Path) -> None:
    """The first entry of a grant notes it durably; a refresh finds that and writes nothing."""
    system = Counting()
    store = open_store(str(tmp_path / "store"), system)
    log_in(store)
    counts = []
    for key in (GRANT_KEY, ANN, ANN):
        before = system.syncs
        with store.lock_grant(key, soon()) as locked:
            locked.commit(Change(grant=make_grant(key=key)))
        counts.append(system.syncs - before)
    assert len(set(counts)) == 1


def test_one_grant_s_folder_is_open_at_a_time(tmp_path: Path) -> None:
    """A process that works on ten thousand subjects needs no more descriptors than on ten."""
    store = open_store(str(tmp_path / "store"))
    counts = []
    for number in range(30):
        key = GRANT_KEY.replace(subject=str(number))
        with store.lock_grant(key, soon()) as locked:
            slot = TokenKey(grant=key)
            locked.commit(
                Change(grant=make_grant(key=key), token_key=slot, token=make_token(), profile="p")
            )
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[-1] <= counts[5]


def test_a_list_is_made_anew_from_what_is_held(tmp_path: Path) -> None:
    """What an earlier version wrote is looked for once; what comes later lists itself."""
    store = open_store(str(tmp_path / "store"))
    log_in(store)
    folder = store.disk.child("subjects")
    for place, _, names in os.walk(folder.path):
        for name in names:
            os.unlink(os.path.join(place, name))
    assert store.find_grants("ann") == [store.name_of(ANN)]
    assert find_grants(store.disk, "ann", refuse_search) == [store.name_of(ANN)]


def test_only_what_is_gone_is_taken_off(tmp_path: Path) -> None:
    """A grant of which an intent is left, or a slot, stays on the list."""
    store = open_store(str(tmp_path / "store"))
    log_in(store)
    name = store.name_of(ANN)
    with store.lock_grant(ANN, soon()) as locked:
        locked.intend(make_intent())
    (slot,) = store.entries_of(TOKEN, name)
    for kind, entry in ((TOKEN, slot.name), (GRANT, name)):
        assert remove_unused(store.disk, store.clock) == 0
        assert store.find_grants("ann") == [name]
        store.disk.remove(kind, entry)
    assert remove_unused(store.disk, store.clock) == 0
    store.disk.remove(INTENT, name)
    assert remove_unused(store.disk, store.clock) == 1
    assert store.find_grants("ann") == []


def test_a_grant_that_comes_back_is_listed_again(tmp_path: Path) -> None:
    """Also where `store gc` has removed the subject's folder in between."""
    store = open_store(str(tmp_path / "store"))
    for _ in range(2):
        log_in(store)
        name = store.name_of(ANN)
        assert store.find_grants("ann") == [name]
        for entry in list(store.entries_of(TOKEN, name)):
            store.disk.remove(TOKEN, entry.name)
        store.disk.remove(GRANT, name)
        assert remove_unused(store.disk, store.clock) == 1
