"""A grant's lock: flock on `locks/NAME.lock`, which dies with its holder and names him.

The file is plain text and never removed while its grant may live: 20 digits of the highest
generation ever stored, then one JSON object about the holder. It is opened for writing because
network file systems want that of an exclusive lock, and the name is looked up again after the
lock was had, because a lock on a removed file guards nothing.
"""

from __future__ import annotations

import fcntl
import time

from brokerctl import jsonlite
from brokerctl.errors import LockTimeoutError, StoreError
from brokerctl.platform.private_files import checked_file, refused
from brokerctl.platform.process import STOPPED, find_process, read_place
from brokerctl.platform.system import os
from brokerctl.store.entry import grant_name
from brokerctl.store.file.disk import LOCKS
from brokerctl.store.file.lock_wait import LOCK_FLAGS, SUFFIX, Pauses, try_lock
from brokerctl.store.locked import GrantUnderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.model import GrantKey
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System
    from brokerctl.store.file import FileStore

_MARK_DIGITS = 20
_FILE_BYTES = 512


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
        """Say whether the lock is held by this object."""
        return self._fd >= 0

    def acquire(self, deadline: float, now: float) -> None:
        """Take the lock by the monotonic `deadline`; LockTimeoutError names who has it."""
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
        system, pauses = self._system, Pauses(self._system, deadline)
        while True:
            fd = open_lock_file(self._folder, self._name)
            try:
                while not try_lock(fd, system):
                    if not pauses.sleep():
                        raise read_held(fd, system)
                if self._is_current(fd):
                    checked_file(fd, f"{self._folder.path}/{self._name}", system)
                    self._fd = fd
                    return
                if system.monotonic() > deadline:
                    raise held_by(None, system)  # the file goes each time that we have it
            finally:
                if self._fd != fd:
                    system.close(fd)

    def _is_current(self, fd: int) -> bool:
        try:
            named = self._system.stat(self._name, dir_fd=self._folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        mine = self._system.fstat(fd)
        return (named.st_ino, named.st_dev) == (mine.st_ino, mine.st_dev)

    def _introduce(self, now: float) -> None:
        """Read the highest generation seen, and write down who we are."""
        try:
            self.mark = _parse_mark(self._system.pread(self._fd, _FILE_BYTES, 0))
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
            self._system.pwrite(self._fd, b"%0*d" % (_MARK_DIGITS, generation), 0)
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
    digits = data[:_MARK_DIGITS]
    return int(digits) if len(digits) == _MARK_DIGITS and digits.isdigit() else 0


def parse_holder(data: bytes) -> dict[str, Any] | None:
    """Return what a lock file says about its holder; None if it can't be read."""
    try:
        found = jsonlite.loads(data[_MARK_DIGITS:].strip(b" \n\0"))
    except ValueError:
        return None
    wanted = {"pid": int, "start": int, "host": str, "boot": str, "pid_ns": int}
    if type(found) is not dict or any(type(found.get(name)) is not wanted[name] for name in wanted):
        return None
    return found


def _render(mark: int, holder: dict[str, Any]) -> bytes:
    text = b"%0*d\n%b" % (_MARK_DIGITS, mark, jsonlite.dumps(holder).encode())
    return text.ljust(_FILE_BYTES - 1)[: _FILE_BYTES - 1] + b"\n"


def describe_self(system: System, now: float) -> dict[str, Any]:
    """Return who we are, so that a folder shared by hosts and containers can tell."""
    pid = system.getpid()
    return {
        "pid": pid,
        "start": find_process("self", system)[1],
        **describe_here(system),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
    }


def describe_here(system: System) -> dict[str, Any]:
    """Return host, boot and pid namespace; a pid means something only where all are equal."""
    here = read_place(system)
    return {"host": here["host"], "boot": here["boot"] or "", "pid_ns": here["pid_ns"] or 0}


def read_held(fd: int, system: System) -> LockTimeoutError:
    """Make the error that names the holder of an open lock file."""
    return held_by(parse_holder(system.pread(fd, _FILE_BYTES, 0)), system)


def held_by(holder: dict[str, Any] | None, system: System) -> LockTimeoutError:
    """Make the error that names a lock's holder, with the hint that wakes a stopped one."""
    if holder is None:
        return LockTimeoutError("the grant is locked by an unknown process")
    pid = holder["pid"]
    here = describe_here(system)
    where = "" if holder["host"] == here["host"] else f" on {holder['host']!a}"
    since = holder.get("since")
    when = f" since {ascii(since)[1:-1]}" if isinstance(since, str) else ""
    is_here = all(holder[name] == here[name] for name in here)
    state, start = find_process(str(pid), system) if is_here else (b"", 0)
    if state in STOPPED and start == holder["start"]:
        message = f"the grant is locked by process {pid}, which is stopped{when}"
        return LockTimeoutError(message, hint=f"run 'kill -CONT {pid}'")
    if is_here and start != holder["start"]:  # it has ended: somebody has the lock, but unwritten
        return LockTimeoutError(f"the grant is locked by an unknown process, not {pid} any more")
    return LockTimeoutError(f"the grant is locked by process {pid}{where}{when}")


class Locking:
    """The context of `lock_grant`: the lock is held inside and nowhere else."""

    __slots__ = ("_deadline", "_key", "_lock", "_locked", "_store")

    def __init__(self, store: FileStore, key: GrantKey, deadline: float) -> None:
        self._store = store
        self._key = key
        self._deadline = deadline

    def __enter__(self) -> GrantUnderLock:
        disk = self._store.disk
        name = grant_name(self._store.ring.name_key, self._key)
        self._lock = FileLock(disk.child(LOCKS), name, disk.system)
        self._lock.acquire(self._deadline, self._store.clock())
        self._locked = GrantUnderLock(disk, self._key, name, self._lock, self._store.clock)
        return self._locked

    def __exit__(self, *_: object) -> None:
        found = self._locked.state.damage
        self._store.damage.extend(found)
        try:
            self._store.disk.give_back()
        finally:
            self._store.disk.until = 0.0
            self._lock.release()
        if found and self._store.tell is not None:
            self._store.tell(found)
