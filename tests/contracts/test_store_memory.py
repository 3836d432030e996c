"""The store in memory keeps the contract of stores, and touches no disk."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import StoreError
from brokerctl.store.entry import PLAN, TOKEN, plain_name
from brokerctl.store.file import FileStore
from brokerctl.store.file.memory import MemorySystem
from tests.contracts import test_store_file
from tests.store_room import GRANT_KEY, NOW, RING, TOKEN_KEY, log_in, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.keys.ring import KeyRing
    from brokerctl.platform.private_files import Folder


class TestFileStoreInMemory(test_store_file.TestFileStore):
    """The very same store, over a folder in memory."""

    @pytest.fixture
    def store(self) -> FileStore:
        """Return an empty store."""
        return open_memory(RING)


def open_memory(ring: KeyRing) -> FileStore:
    """Return a new store in memory."""
    return FileStore(MemorySystem().folder("memory"), ring, clock=lambda: NOW)


def locks_of(store: FileStore) -> Folder:
    """Return the folder of the locks, opened once more."""
    found = store.disk.folder.child("locks")
    assert found is not None
    return found


def test_two_memories_share_nothing() -> None:
    """Each is a store of its own, though names and keys are the same."""
    one, other = open_memory(RING), open_memory(RING)
    log_in(one)
    assert one.find_token(TOKEN_KEY, NOW, 0) is not None
    assert other.find_token(TOKEN_KEY, NOW, 0) is None


class SlowMemory(MemorySystem):
    """Lets the other threads on while a node is made, as an interpreter may."""

    def _make(self, mode: int) -> Any:  # noqa: ANN401 - a node
        made = super()._make(mode)
        time.sleep(0.01)
        return made


def test_one_thread_makes_a_name() -> None:
    """Two files of one name would be two locks of one grant: a supervisor answers in threads."""
    system = SlowMemory()
    folder, begin = system.folder("memory"), threading.Barrier(4)
    made: list[str] = []

    def make() -> None:
        begin.wait()
        with contextlib.suppress(FileExistsError):
            system.open("one", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder.fd)
            made.append("one")
        with contextlib.suppress(FileExistsError):
            system.mkdir("folder", dir_fd=folder.fd)
            made.append("folder")

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["folder", "one"]


def test_a_damaged_entry_is_set_aside() -> None:
    """What can't be opened blocks nothing, as on a disk."""
    store = open_memory(RING)
    log_in(store)
    (entry,) = store.entries(TOKEN)
    folder, name = store.disk.place(TOKEN, entry.name)
    folder.write(name, b"nonsense")
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        assert locked.state.slots == ()
    assert [one.kind for one in store.damage] == [TOKEN]
    assert len(store.disk.child("aside").names()) == 1


def test_a_folder_in_a_blob_s_place_is_set_aside() -> None:
    """Nothing is renamed over a folder."""
    store = open_memory(RING)
    name = plain_name(RING.name_key, "plan", "1")
    store.disk.child("plans", name)
    store.put_sealed(PLAN, name, b"one")
    assert store.find_sealed(PLAN, name) == b"one"


def test_a_lock_names_its_holder_and_counts_generations() -> None:
    """The lock's file says what it says on a disk."""
    store = open_memory(RING)
    log_in(store)
    (name,) = locks_of(store).names()
    data = locks_of(store).read(name)
    assert data is not None
    assert data.startswith(b"%020d" % 1)
    assert f'"pid":{os.getpid()}'.encode() in data


def test_the_machine_s_files_are_read_and_never_made(tmp_path: Path) -> None:
    """An absolute path is the machine's own: `/proc` is read, and nothing is written."""
    system = MemorySystem()
    path = str(tmp_path / "new")
    with pytest.raises(FileNotFoundError):
        system.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for change in (system.mkdir, system.unlink):
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            change(path)
    assert os.listdir(tmp_path) == []
    fd = system.open("/proc/self/stat", os.O_RDONLY)
    assert system.read(fd, 4096).startswith(b"%d " % os.getpid())
    system.close(fd)


def test_a_descriptor_is_the_process_s_own() -> None:
    """No file that is opened beside it gets its number, and a closed one is given back."""
    folder = MemorySystem().folder("memory")
    folder.write("name", b"data")
    fd = os.open("/dev/null", os.O_RDONLY)
    number = folder.fd
    assert fd != number
    folder.close()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(number)
    os.close(fd)


def test_a_missing_folder_is_not_made_by_looking() -> None:
    """A child that is only looked for stays missing, and a file is no folder."""
    folder = MemorySystem().folder("memory")
    folder.write("file", b"data")
    assert folder.child("missing", create=False) is None
    with pytest.raises(StoreError, match="not what it should be"):
        folder.child("file")
    assert folder.read("missing/file") is None
    assert folder.names() == ["file"]
