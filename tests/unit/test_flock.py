"""The one loop in which locks are taken: what is busy, what is no lock at all, whose file it is."""

from __future__ import annotations

import errno
import os
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from brokerctl.audit.lock import acquire
from brokerctl.errors import StoreError
from brokerctl.platform.flock import BUSY, Pauses, is_current, lock_by
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import SYSTEM, System
from brokerctl.platform.work_clock import work_time
from brokerctl.store.file.lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import SupportsIndex

    from brokerctl.platform.private_files import Folder


class Refusing(System):
    """A system whose locks fail so many times, and whose waiting takes no time."""

    def __init__(self, code: int, times: int = 1 << 30) -> None:
        self.code = code
        self.times = times
        self.now = 0.0
        self.pauses: list[float] = []

    def flock(self, fd: int, how: int) -> None:  # type: ignore[override]  # static there
        """Fail, or lock."""
        if self.times:
            self.times -= 1
            raise OSError(self.code, "refused")
        SYSTEM.flock(fd, how)

    def sleep(self, pause: SupportsIndex | float) -> None:
        """Go on at once."""
        self.pauses.append(float(pause))
        self.now += float(pause)

    def monotonic(self) -> float:
        """Return the time that was waited."""
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a private folder."""
    found = open_folder(str(tmp_path / "private"))
    assert found is not None
    return found


@pytest.fixture
def fd(folder: Folder) -> int:
    """Return an open file of it."""
    return os.open("x.lock", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder.fd)


@pytest.mark.parametrize("code", sorted(BUSY))
def test_what_is_busy_is_waited_for_until_the_deadline(fd: int, code: int) -> None:
    """Whatever name a file system has for it; the last pause ends with the deadline."""
    system = Refusing(code)
    assert not lock_by(fd, system, Pauses(system, 5.0))
    assert sum(system.pauses) == pytest.approx(5.0)
    assert system.pauses[0] == 0.0002
    assert all(before <= after for before, after in pairwise(system.pauses[:-1]))
    assert max(system.pauses) <= 0.1
    assert lock_by(fd, Refusing(code, times=3), Pauses(Refusing(code), 5.0))


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_where_locks_do_not_work_it_is_an_error(folder: Folder, fd: int, code: int) -> None:
    """A wait would be in vain, and a lock that is none guards nothing."""
    system = Refusing(code)
    with pytest.raises(OSError, match="refused") as caught:
        lock_by(fd, system, Pauses(system, 5.0))
    assert caught.value.errno == code
    with pytest.raises(StoreError):
        FileLock(folder, "g", system).acquire(5.0, time.time())
    assert not system.pauses


def remove(folder: Folder) -> None:
    """Remove the file."""
    os.unlink("x.lock", dir_fd=folder.fd)


def replace(folder: Folder) -> None:
    """Put another file in its place."""
    os.rename("x.lock", "old", src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
    os.close(os.open("x.lock", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder.fd))


@pytest.mark.parametrize("change", [remove, replace])
def test_a_name_may_mean_another_file_by_now(
    folder: Folder, fd: int, change: Callable[[Folder], None]
) -> None:
    """A lock on what was there before keeps nobody out."""
    assert is_current(folder, "x.lock", fd)
    change(folder)
    assert not is_current(folder, "x.lock", fd)


class Swapping(System):
    """Has another file under the name at the first lock, as a command that cleans up does."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.folder = folder
        self.name = name
        self.is_done = False

    def flock(self, fd: int, how: int) -> None:  # type: ignore[override]  # static there
        """Lock, and swap once."""
        SYSTEM.flock(fd, how)
        if not self.is_done:
            self.is_done = True
            os.unlink(self.name, dir_fd=self.folder.fd)


def test_the_lock_that_is_had_is_the_one_under_the_name(folder: Folder) -> None:
    """Of a grant and of the log alike: else two holders would have one each."""
    lock = FileLock(folder, "g", Swapping(folder, "g.lock"))
    lock.acquire(work_time() + 20, time.time())
    other = FileLock(folder, "g", SYSTEM)
    with pytest.raises(Exception, match="locked by process"):
        other.acquire(work_time(), time.time())
    lock.release()
    folder.system = Swapping(folder, "log.lock")
    held = acquire(folder)
    folder.system = SYSTEM
    assert is_current(folder, "log.lock", held)
