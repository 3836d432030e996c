"""flock(2) in bounded time: the one loop in which every lock of brokerctl is taken.

flock itself waits for ever or not at all, so it is tried again after a pause that grows.
"""

from __future__ import annotations

import errno
import fcntl

from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System

BUSY = frozenset((errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK))
_GROWTH = 1.5
_LONG_WAIT_S = 1.0  # from then on the holder waits for a network: a crowd must not burn a core
_LONG_PAUSE_S = 0.1


class Pauses:
    """The pauses of one wait, from `first_s` up to `last_s`, until a monotonic `deadline`."""

    __slots__ = ("_deadline", "_is_long_at", "_last_s", "_pause_s", "_system")

    def __init__(
        self, system: System, deadline: float, first_s: float = 0.0002, last_s: float = 0.01
    ) -> None:
        self._system = system
        self._deadline = deadline
        self._is_long_at = system.monotonic() + _LONG_WAIT_S
        self._pause_s = first_s
        self._last_s = last_s

    def prolong(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now."""
        self._deadline = self._system.monotonic() + seconds

    def sleep(self) -> bool:
        """Sleep a while; False, without sleep, when the deadline is here."""
        now = self._system.monotonic()
        if now >= self._deadline:
            return False
        self._system.sleep(min(self._pause_s, self._deadline - now))
        limit = self._last_s if now < self._is_long_at else _LONG_PAUSE_S
        # Those that started together drift apart: each grows at a pace of its own.
        self._pause_s = min(self._pause_s * (_GROWTH + os.urandom(1)[0] / 512), limit)
        return True


def try_lock(fd: int, system: System, how: int = fcntl.LOCK_EX) -> bool:
    """Take the lock if it is free; raises OSError where locks don't work at all."""
    try:
        system.flock(fd, how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            return False
        raise
    return True


def lock_by(fd: int, system: System, pauses: Pauses, how: int = fcntl.LOCK_EX) -> bool:
    """Take the lock; False if another process has it all the time. OSError as above."""
    while not try_lock(fd, system, how):
        if not pauses.sleep():
            return False
    return True


def is_current(folder: Folder, name: str, fd: int) -> bool:
    """Return whether the name still means this file: a lock on a removed file guards nothing."""
    system = folder.system
    try:
        named = system.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = system.fstat(fd)
    return (named.st_ino, named.st_dev) == (mine.st_ino, mine.st_dev)
