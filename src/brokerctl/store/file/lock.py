"""A grant's lock: flock on `locks/NAME.lock`, which dies with its holder and names him.

The file is plain text and never removed while its grant may live: 20 digits of the highest
generation ever stored, then one JSON object about the holder. It is opened for writing because
network file systems want that of an exclusive lock, and the name is looked up again after the
lock was had, because a lock on a removed file guards nothing.
"""

from __future__ import annotations

import fcntl

from brokerctl import jsonlite
from brokerctl.errors import StoreError
from brokerctl.freshness import LOCK_WAIT_S
from brokerctl.platform.flock import is_current
from brokerctl.platform.private_files import checked_file, refused
from brokerctl.platform.system import os
from brokerctl.platform.work_clock import work_time
from brokerctl.store.entry import grant_name
from brokerctl.store.file.disk import LOCKS
from brokerctl.store.file.lock_holder import (
    FILE_BYTES,
    MARK_DIGITS,
    describe_self,
    held_by,
    read_held,
)
from brokerctl.store.file.lock_wait import LOCK_FLAGS, SUFFIX, lock_until
from brokerctl.store.locked import GrantUnderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from brokerctl.model import GrantKey
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System
    from brokerctl.store import Damage
    from brokerctl.store.file.disk import Disk


class FileLock:
    """One grant's lock, from `acquire` to `release`."""

    __slots__ = ("_fd", "_folder", "_name", "_system", "mark")

    def __init__(self, folder: Folder, name: str, system: System) -> None:
        self._folder = folder
        self._name = name + SUFFIX
        self._system = system
        self._fd = -1
        self.mark = 0  # the highest generation seen, read when the lock is had

    @property
    def is_held(self) -> bool:
        """Return whether the lock is held by this object."""
        return self._fd >= 0

    def acquire(self, deadline: float, now: float) -> None:
        """Take the lock by the work clock's `deadline`; LockTimeoutError names who has it."""
        try:
            self._acquire(deadline)
        except OSError as error:
            raise refused(f"{self._folder.path}/{self._name}", error) from error
        try:
            self._introduce(now)
        except BaseException:
            self.release()
            raise

    def _acquire(self, deadline: float) -> None:
        system = self._system
        while True:
            fd = open_lock_file(self._folder, self._name)
            try:
                if not lock_until(fd, system, deadline):
                    raise read_held(fd, system)
                if is_current(self._folder, self._name, fd):
                    checked_file(fd, f"{self._folder.path}/{self._name}", system)
                    self._fd = fd
                    return
                if work_time(system) > deadline:
                    raise held_by(None, system)  # the file goes each time that we have it
            finally:
                if self._fd != fd:
                    system.close(fd)

    def _introduce(self, now: float) -> None:
        """Read the highest generation seen, and write down who we are."""
        try:
            self.mark = _parse_mark(self._system.pread(self._fd, FILE_BYTES, 0))
        except OSError as error:
            raise refused(f"{self._folder.path}/{self._name}", error) from error
        text = _render(self.mark, describe_self(self._system, now))
        try:
            self._system.pwrite(self._fd, text, 0)
        except OSError:
            return  # who holds it is for people; `intend` finds a disk that can't be written

    def raise_mark(self, generation: int) -> None:
        """Note a generation that was stored. A mark left behind is safe, so it is not an error."""
        if generation <= self.mark:
            return
        self.mark = generation
        try:
            self._system.pwrite(self._fd, b"%0*d" % (MARK_DIGITS, generation), 0)
        except OSError:
            return

    def remove(self) -> None:
        """Remove the file while holding it: for a grant of which nothing is left."""
        self._folder.unlink(self._name)

    def release(self) -> None:
        """Give the lock up; safe to call twice."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            # A child that was forked at this moment has the descriptor too, until it execs.
            self._system.flock(fd, fcntl.LOCK_UN)
        except OSError:
            pass
        finally:
            self._system.close(fd)


def open_lock_file(folder: Folder, name: str) -> int:
    """Open a lock file for writing, made 0600 whatever the umask; raises OSError."""
    system = folder.system
    while True:
        try:
            return system.open(name, LOCK_FLAGS, dir_fd=folder.fd)
        except FileNotFoundError:
            pass
        try:
            fd = system.open(name, LOCK_FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder.fd)
        except FileExistsError:
            continue  # somebody was faster
        try:
            system.fchmod(fd, 0o600)
        except BaseException:
            system.close(fd)
            raise
        return fd


def find_mark(folder: Folder, name: str) -> int:
    """Return the highest generation ever stored, without the lock; 0 where none is known."""
    try:
        data = folder.read(name + SUFFIX)
    except StoreError:
        return 0
    return _parse_mark(data or b"")


def _parse_mark(data: bytes) -> int:
    digits = data[:MARK_DIGITS]
    return int(digits) if len(digits) == MARK_DIGITS and digits.isdigit() else 0


def _render(mark: int, holder: dict[str, Any]) -> bytes:
    text = b"%0*d\n%b" % (MARK_DIGITS, mark, jsonlite.dumps(holder).encode())
    return text.ljust(FILE_BYTES - 1)[: FILE_BYTES - 1] + b"\n"


class EntryLock:
    """The lock of an entry that is found by its name: its grant's, or its own where it has none.

    A damaged entry has no key by which `lock_grant` could take the lock.
    """

    __slots__ = ("_clock", "_lock", "_system")

    def __init__(self, disk: Disk, name: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._system = disk.system
        self._lock = FileLock(disk.child(LOCKS), name.partition("/")[0], disk.system)

    def __enter__(self) -> Self:
        """Take the lock; LockTimeoutError names who has it."""
        self._lock.acquire(work_time(self._system) + LOCK_WAIT_S, self._clock())
        return self

    def remove(self) -> None:
        """Remove the lock's file while it is held: its entry is gone and comes no more."""
        if self._lock.mark == 0:
            self._lock.remove()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Locking:
    """The context of `lock_grant`: the lock is held inside and nowhere else.

    `report` gets what was set aside under the lock, once it is given up.
    """

    __slots__ = ("_clock", "_deadline", "_disk", "_key", "_lock", "_locked", "_report")

    def __init__(
        self,
        disk: Disk,
        key: GrantKey,
        deadline: float,
        clock: Callable[[], float],
        report: Callable[[tuple[Damage, ...]], None],
    ) -> None:
        self._disk = disk
        self._key = key
        self._deadline = deadline
        self._clock = clock
        self._report = report

    def __enter__(self) -> GrantUnderLock:
        disk = self._disk
        name = grant_name(disk.ring.name_key, self._key)
        self._lock = FileLock(disk.child(LOCKS), name, disk.system)
        self._lock.acquire(self._deadline, self._clock())
        disk.close_group(name)  # from here on nobody removes it
        self._locked = GrantUnderLock(disk, self._key, name, self._lock, self._clock)
        return self._locked

    def __exit__(self, *_: object) -> None:
        try:
            self._disk.give_back()
        finally:
            self._disk.until = 0.0
            self._lock.release()
            self._report(self._locked.state.damage)
