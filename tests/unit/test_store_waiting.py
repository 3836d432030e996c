"""Waiting for another's work on a grant: woken, bounded, and never in anybody's way."""

from __future__ import annotations

import _thread
import fcntl
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import LockTimeoutError, StoreError
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import SYSTEM, System
from brokerctl.platform.work_clock import work_time
from brokerctl.store.file.lock import FileLock
from brokerctl.store.file.lock_wait import wait_for_another
from tests.store_room import NOW, soon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerctl.platform.private_files import Folder

WAIT = """
import signal, sys
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.work_clock import work_time
from brokerctl.platform.work_clock import work_time
from brokerctl.store.file.lock_wait import wait_for_another
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
print("ready", flush=True)
wait_for_another(open_folder(sys.argv[1]), "g", work_time() + 30)
print("free", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a private folder as a store has it, with its folder of locks."""
    found = open_folder(str(tmp_path / "v1"))
    assert found is not None
    assert found.child("locks") is not None
    return found


def take(folder: Folder) -> FileLock:
    """Take the lock of the grant `g`, which must be free."""
    locks = folder.child("locks")
    assert locks is not None
    lock = FileLock(locks, "g", SYSTEM)
    lock.acquire(soon(), NOW)
    return lock


def later(act: Callable[[], object], seconds: float = 0.2) -> threading.Timer:
    """Do something in a moment."""
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_what_nobody_holds_is_not_waited_for(folder: Folder) -> None:
    """Neither a lock that was never made nor a free one; none is made by looking."""
    wait_for_another(folder, "g", work_time())
    assert not os.path.exists(f"{folder.path}/locks/g.lock")
    take(folder).release()
    wait_for_another(folder, "g", work_time())


def test_the_end_of_the_holder_is_the_end_of_the_wait(folder: Folder) -> None:
    """Nothing is left of the wait: the lock can be had, and no descriptor is open."""
    held = take(folder)
    gc.collect()  # what other tests left open is closed now, and not while we count
    before = len(os.listdir("/proc/self/fd"))
    timer = later(held.release)
    begun = work_time()
    wait_for_another(folder, "g", soon())
    assert 0.1 < work_time() - begun < 5
    timer.join()
    assert len(os.listdir("/proc/self/fd")) == before - 1  # the holder's
    take(folder).release()


def test_the_wait_is_bounded_and_names_the_holder(folder: Folder) -> None:
    """The deadline is kept, and the thread that still waits keeps nobody out later."""
    held = take(folder)
    begun = work_time()
    with pytest.raises(LockTimeoutError, match=f"locked by process {os.getpid()}"):
        wait_for_another(folder, "g", begun + 0.2)
    assert 0.2 <= work_time() - begun < 2
    held.release()
    take(folder).release()


def test_a_killed_holder_wakes_a_crowd_at_once(folder: Folder) -> None:
    """Twenty processes wait in the kernel, whatever signals they block, and all are let go."""
    held = take(folder)
    crowd = [
        subprocess.Popen([sys.executable, "-c", WAIT, folder.path], stdout=subprocess.PIPE)
        for _ in range(20)
    ]
    try:
        for one in crowd:
            assert one.stdout is not None
            assert one.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        assert all(one.poll() is None for one in crowd)
        held.release()
        for one in crowd:
            assert one.communicate(timeout=20)[0] == b"free\n"
    finally:
        for one in crowd:
            one.kill()
            one.wait()


def test_a_signal_ends_the_wait(folder: Folder) -> None:
    """Ctrl-C reaches whoever waits, and not first when the other is done."""
    held = take(folder)
    timer = later(lambda: os.kill(os.getpid(), signal.SIGINT))
    begun = work_time()
    with pytest.raises(KeyboardInterrupt):
        wait_for_another(folder, "g", begun + 20)
    assert work_time() - begun < 5
    timer.join()
    held.release()


def test_without_a_thread_it_looks_now_and_then(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of processes or memory costs a few looks, and the deadline holds."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    held = take(folder)
    with pytest.raises(LockTimeoutError):
        wait_for_another(folder, "g", work_time() + 0.1)
    pid = os.fork()
    if pid == 0:  # a process that lets go of our lock, since no thread can
        time.sleep(0.2)
        fcntl.flock(held._fd, fcntl.LOCK_UN)  # noqa: SLF001 - as `release` does
        os._exit(0)
    wait_for_another(folder, "g", soon())
    os.waitpid(pid, 0)
    take(folder).release()


def test_trouble_while_waiting_is_told(folder: Folder) -> None:
    """An error of the kernel's lock is an error of the store, and no wait until the deadline."""

    def fail_when_it_waits(fd: int, how: int) -> None:
        if how == fcntl.LOCK_SH:
            raise OSError(37, "No locks available")
        SYSTEM.flock(fd, how)

    class Failing(System):
        """Has no locks to wait for."""

        flock: Any = staticmethod(fail_when_it_waits)

    held = take(folder)
    folder.system = Failing()
    with pytest.raises(StoreError, match="no locks available"):
        wait_for_another(folder, "g", soon())
    held.release()


def test_a_link_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    """Security: what was planted in the lock's place is refused, not waited for."""
    (tmp_path / "v1/locks/g.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        wait_for_another(folder, "g", soon())


def test_a_holder_that_ended_is_not_called_the_holder(folder: Folder) -> None:
    """The file names who took the lock last; if that one is gone, the holder is unknown."""
    held = take(folder)
    held.release()
    path = f"{folder.path}/locks/g.lock"
    with open(path, "r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(data.replace(b'"start":', b'"start":9'))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockTimeoutError, match="unknown process, not"):
            wait_for_another(folder, "g", work_time())
