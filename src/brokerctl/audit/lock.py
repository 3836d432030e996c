"""The log's own lock: innermost, held for microseconds, and never silent about who holds it.

`log.lock` is never removed. Its first line says who took the lock last; behind it lie the
counters of `repeats`, so that neither costs another file.
"""

from __future__ import annotations

import errno
import fcntl

from brokerctl.platform.private_files import checked_file, refused
from brokerctl.platform.process import read_host, read_pid_ns
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.platform.private_files import Folder

NAME = "log.lock"
HOLDER_BYTES = 128
_POLL_S = 0.1  # most locks are free long before; then it is a crowd, or nobody goes on
_FIRST_POLL_S = 0.0002
_LAST_POLL_S = 0.01
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_BUSY = frozenset((errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK))


def open_private(folder: Folder, name: str, extra_flags: int = 0) -> tuple[int, int]:
    """Open a file of the log for reading and writing, made 0600 if missing; return (fd, size).

    Security: no link is followed, and it must be a regular file, ours, private, with one name.
    """
    path = f"{folder.path}/{name}"
    try:
        fd = _open_or_make(folder, name, _FLAGS | extra_flags)
    except OSError as error:
        raise refused(path, error) from error
    try:
        return fd, checked_file(fd, path, folder.system)
    except BaseException:
        folder.system.close(fd)
        raise


def _open_or_make(folder: Folder, name: str, flags: int) -> int:
    while True:
        try:
            return folder.system.open(name, flags, dir_fd=folder.fd)
        except FileNotFoundError:
            _make(folder, name)


def _make(folder: Folder, name: str) -> None:
    """Make an empty file, its name durable; somebody else may have been faster."""
    system = folder.system
    try:
        fd = system.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder.fd)
    except FileExistsError:
        return
    try:
        system.fchmod(fd, 0o600)  # whatever the umask
    finally:
        system.close(fd)
    system.fsync(folder.fd)


def acquire(folder: Folder) -> int:
    """Take the lock and return its descriptor; closing it releases.

    AuditError where it is held for 5 s and nobody writes.
    """
    system = folder.system
    while True:
        fd, _ = open_private(folder, NAME)
        try:
            _wait(folder, fd)
            if _is_current(folder, fd):
                me = f"{system.getpid()} {read_host()} {read_pid_ns(system)}".encode()
                system.pwrite(fd, me.ljust(HOLDER_BYTES - 1) + b"\n", 0)
                return fd
        except BaseException:
            system.close(fd)
            raise
        system.close(fd)


def _wait(folder: Folder, fd: int) -> None:
    system = folder.system
    pause, deadline = _FIRST_POLL_S, system.monotonic() + _POLL_S
    while True:
        try:
            system.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _BUSY:
                raise
        else:
            return
        if system.monotonic() > deadline:
            from brokerctl.audit.waiting import wait_in_line  # noqa: PLC0415 - in a crowd alone

            wait_in_line(folder, fd)
            return
        system.sleep(pause)
        pause = min(pause * 1.5, _LAST_POLL_S)


def _is_current(folder: Folder, fd: int) -> bool:
    """Say whether the name still means this file: a lock on a removed file guards nothing."""
    system = folder.system
    try:
        named = system.stat(NAME, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = system.fstat(fd)
    return (named.st_ino, named.st_dev) == (mine.st_ino, mine.st_dev)
