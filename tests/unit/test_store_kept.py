"""Kept credentials in the store: their names, their lock, what maintenance makes of them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.keys.making import new_keys, new_ring
from brokerctl.platform.private_files import TEMPORARY, open_folder
from brokerctl.secret import Secret
from brokerctl.store.backup import backup, restore
from brokerctl.store.check import check, gc, reseal
from brokerctl.store.entry import KEPT
from brokerctl.store.tool_credentials import all_kept, count_kept, drop, has_kept, kept_name, put
from tests.store_room import NOW, RING, open_store
from tests.unit.test_git_store import KEPT as ONE

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.store.file import FileStore
    from brokerctl.store.values import ToolCredential

KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return an empty store."""
    return open_store(str(tmp_path / "store"))


def keep(store: FileStore, one: ToolCredential) -> bool:
    """Keep it, whatever is there."""
    return put(store, one, lambda _: True)


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "docker"},
        {"protocol": "http"},
        {"host": "git.example.org"},
        {"port": 8443},
        {"path": "/a"},
        {"username": ""},
    ],
)
def test_each_input_changes_the_name(store: FileStore, change: dict[str, str | int]) -> None:
    """Two places never share an entry."""
    other = ONE.replace(**change)
    assert kept_name(store, other) != kept_name(store, ONE)
    assert keep(store, ONE)
    assert keep(store, other)
    assert len(all_kept(store)) == 2


def test_a_secret_changes_the_entry_and_not_the_name(store: FileStore) -> None:
    """The newer one is kept, and what was there is shown before."""
    keep(store, ONE)
    seen: list[ToolCredential | None] = []

    def note(here: ToolCredential | None) -> bool:
        seen.append(here)
        return True

    newer = ONE.replace(secret=Secret("new"), kept_at=2)
    assert put(store, newer, note)
    assert seen == [ONE]
    assert [one for _, one in all_kept(store)] == [newer]
    assert not put(store, ONE, lambda here: here is None)


def test_nothing_of_it_is_in_the_clear(store: FileStore, tmp_path: Path) -> None:
    """Neither in a file nor in a name of one."""
    keep(store, ONE)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        for word in (b"hunter2", b"alice", b"git.example.com"):
            assert word not in path.read_bytes()
            assert word.decode() not in str(path)


def test_only_what_is_meant_is_dropped(store: FileStore) -> None:
    """Looked at again under the lock: another may have stored a newer one meanwhile."""
    keep(store, ONE)
    name = kept_name(store, ONE)
    assert drop(store, name, lambda one: one.kept_at == 2) is None
    assert drop(store, name, lambda _: True) == ONE
    assert drop(store, name, lambda _: True) is None
    assert all_kept(store) == []


def test_a_damaged_one_is_found_and_replaced(store: FileStore) -> None:
    """`store check` names it, and the next of its place is kept over it."""
    keep(store, ONE)
    folder, file_name = store.disk.place(KEPT, kept_name(store, ONE))
    folder.write(file_name, b"BKR1 and nothing that opens" + bytes(60))
    assert all_kept(store) == []
    assert [damage.kind for damage in check(store).damaged] == [KEPT]
    assert keep(store, ONE)
    assert check(store).is_whole
    assert check(store).counts[KEPT] == 1


def test_gc_removes_what_is_over(store: FileStore) -> None:
    """And nothing else, and no lock file is left."""
    keep(store, ONE)
    keep(store, ONE.replace(username="b", ends_at=NOW - 1))
    keep(store, ONE.replace(username="c", expires_at=NOW - 1))
    keep(store, ONE.replace(username="d", expires_at=NOW - 1, refresh_token=Secret("r")))
    assert count_kept(store, NOW) == 2
    done = gc(store, NOW)
    assert (done.kept, done.locks) == (2, 2)
    assert {one.username for _, one in all_kept(store)} == {"alice", "d"}


def test_rekey_seals_it_anew(tmp_path: Path) -> None:
    """It opens with the new key, and the old one is no longer needed."""
    keep(open_store(str(tmp_path / "store")), ONE)
    ring = new_keys(RING)
    store = open_store(str(tmp_path / "store"), ring=ring)
    done = reseal(store)
    assert done.left == ()
    assert done.resealed >= 1
    assert [one for _, one in all_kept(store)] == [ONE]


def test_a_backup_has_it_and_another_ring_finds_it(store: FileStore, tmp_path: Path) -> None:
    """Under the name that the other machine computes; never over a newer one."""
    keep(store, ONE)
    data, report = backup(store, KEY, {})
    assert report.counts[KEPT] == 1
    other = open_store(str(tmp_path / "other"), ring=new_ring())
    assert len(restore(other, data, lambda _: KEY).restored) == 1
    assert [one for _, one in all_kept(other)] == [ONE]
    newer = ONE.replace(secret=Secret("new"), kept_at=time.time())
    keep(other, newer)
    assert len(restore(other, data, lambda _: KEY).kept) == 1
    assert [one for _, one in all_kept(other)] == [newer]


def test_what_has_none_is_known_without_a_key(tmp_path: Path) -> None:
    """By names alone: nothing is made, and an unfinished write is nothing."""
    folder = open_folder(str(tmp_path / "store"))
    assert folder is not None
    assert not has_kept(folder)
    assert os.listdir(tmp_path / "store") == []
    assert keep(open_store(str(tmp_path / "store")), ONE)
    assert has_kept(folder)
    (name,) = os.listdir(tmp_path / "store/kept")
    os.rename(tmp_path / "store/kept" / name, tmp_path / "store/kept" / f"{TEMPORARY}x")
    assert not has_kept(folder)
