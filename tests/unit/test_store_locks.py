"""A grant's lock: bounded, names its holder, and guards the file that the name means."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import LockTimeoutError, StoreError
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import SYSTEM, System
from brokerctl.platform.work_clock import work_time
from brokerctl.store.file.lock import FileLock, find_mark
from brokerctl.store.file.lock_holder import describe_self, held_by, parse_holder
from tests.store_room import NOW, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.platform.private_files import Folder

HOLD = """
import sys, time
from brokerctl.platform.private_files import open_folder
from brokerctl.store.file.lock import FileLock
from brokerctl.platform.system import SYSTEM
from brokerctl.platform.work_clock import work_time
lock = FileLock(open_folder(sys.argv[1]), "g", SYSTEM)
lock.acquire(work_time() + 10, time.time())
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a private folder for lock files."""
    found = open_folder(str(tmp_path / "locks"))
    assert found is not None
    return found


def _take(folder: Folder, wait_s: float = 0) -> FileLock:
    lock = FileLock(folder, "g", SYSTEM)
    lock.acquire(work_time() + wait_s, NOW)
    return lock


def test_a_lock_is_exclusive_until_released(folder: Folder) -> None:
    """A second holder waits no longer than he may; release is safe to call twice."""
    lock = _take(folder)
    with pytest.raises(LockTimeoutError):
        _take(folder)
    lock.release()
    lock.release()
    assert _take(folder).is_held


def test_the_wait_is_bounded(folder: Folder) -> None:
    """The deadline is kept within one poll."""
    _take(folder)
    start = work_time()
    with pytest.raises(LockTimeoutError):
        _take(folder, 0.2)
    assert 0.2 <= work_time() - start < 0.4


def test_polling_backs_off(folder: Folder) -> None:
    """Quick at first, 20 ms for a second, then 100 ms: many waiters must not burn a core."""
    held = _take(folder)
    slept: list[float] = []

    class Fast(System):
        """Sleeps by moving its own clock."""

        sleep: Any = staticmethod(slept.append)
        monotonic = staticmethod(lambda: sum(slept))

    with pytest.raises(LockTimeoutError):
        FileLock(folder, "g", Fast()).acquire(22.0, NOW)
    first_second = [pause for at, pause in enumerate(slept) if sum(slept[:at]) < 1]
    assert slept[0] <= 0.000625
    assert max(first_second) <= 0.025
    assert 40 < len(first_second) < 90
    assert max(slept) <= 0.125
    assert len(slept) < 400
    held.release()


def test_the_error_names_the_holder(folder: Folder) -> None:
    """Process, and since when; no hint for one that runs."""
    lock = _take(folder)
    with pytest.raises(LockTimeoutError) as raised:
        _take(folder)
    expected = f"the grant is locked by process {os.getpid()} since 2027-01-15T08:00:00Z"
    assert (raised.value.message, raised.value.hint) == (expected, None)
    lock.release()


def test_a_stopped_holder_is_named_with_the_hint_that_wakes_it(folder: Folder) -> None:
    """`kill -CONT` for a process in state T; once it runs again there is no hint."""
    child = subprocess.Popen([sys.executable, "-c", HOLD, folder.path], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"held\n"
        os.kill(child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        with pytest.raises(LockTimeoutError) as raised:
            _take(folder)
        assert raised.value.hint == f"run 'kill -CONT {child.pid}'"
        holder = parse_holder(folder.read("g.lock") or b"")
        assert holder is not None
        for name, other in (
            ("host", "elsewhere"),
            ("boot", "earlier"),
            ("pid_ns", 1),
            ("start", 1),
        ):
            assert held_by({**holder, name: other}, SYSTEM).hint is None, name
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert _take(folder, 5).is_held  # the lock died with its holder


def test_a_process_of_another_host_or_boot_gets_no_hint() -> None:
    """A pid means something only in its own host, boot and pid namespace."""
    me = describe_self(SYSTEM, NOW)
    other = held_by({**me, "host": "elsewhere\x1b[2J"}, SYSTEM)
    assert other.hint is None
    assert "on 'elsewhere\\x1b[2J'" in other.message
    assert held_by({**me, "boot": "earlier"}, SYSTEM).hint is None
    assert "unknown process" in held_by(None, SYSTEM).message


@pytest.mark.parametrize(
    "data", [b"", b"0" * 20, b"0" * 20 + b"\nnot json", b"0" * 20 + b'{"pid":1}']
)
def test_a_holder_that_cannot_be_read_is_unknown(data: bytes) -> None:
    """A lock file of a process that was killed early says nothing."""
    assert parse_holder(data) is None


def test_the_mark_is_kept_across_holders(folder: Folder) -> None:
    """The highest generation stays in the file, and never goes back."""
    lock = _take(folder)
    lock.raise_mark(7)
    lock.raise_mark(3)
    lock.release()
    assert find_mark(folder, "g") == 7
    again = _take(folder)
    assert again.mark == 7
    assert parse_holder(folder.read("g.lock") or b"") is not None


def test_a_lock_on_a_removed_file_guards_nothing(folder: Folder) -> None:
    """Whoever waited for a file that was removed takes the one that the name means now."""
    first = _take(folder)
    removed: list[int] = []

    def remove_and_lock(fd: int, how: int) -> None:
        if not removed:
            removed.append(fd)
            first.remove()
            first.release()
        SYSTEM.flock(fd, how)

    class Removing(System):
        """Removes the file and lets its holder go when the waiter has opened it."""

        flock: Any = staticmethod(remove_and_lock)

    lock = FileLock(folder, "g", Removing())
    lock.acquire(soon(), NOW)
    assert removed
    with pytest.raises(LockTimeoutError):
        _take(folder)
    lock.release()


def test_a_link_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    """Security: nobody's file is written by planting a link."""
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "locks" / "g.lock").symlink_to(tmp_path / "target")
    with pytest.raises(StoreError, match="symbolic link"):
        _take(folder)


def test_a_lock_is_not_inherited(folder: Folder) -> None:
    """A child that outlives its parent must not keep the grant locked."""
    lock = _take(folder)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    try:
        lock.release()
        assert _take(folder).is_held
    finally:
        child.kill()
        child.wait()


def test_the_file_is_private_whatever_the_umask(folder: Folder) -> None:
    """Holders are nobody else's business."""
    before = os.umask(0)
    try:
        _take(folder)
    finally:
        os.umask(before)
    assert os.stat("g.lock", dir_fd=folder.fd).st_mode & 0o777 == 0o600
