"""Waiting for a grant's lock: the try, the pauses, and a wait that keeps no lock.

Of 256 processes on an expired token one redeems. The others only want to know that it is done, so
the kernel wakes them when the lock is given up, and they load nothing that a warm hit does not
need. Were each of them to look now and then, or to take the lock in turn, the crowd would be paid
for half as much again.
"""

from __future__ import annotations

import _thread
import fcntl

from brokerctl.platform.flock import BUSY, Pauses, lock_by, try_lock
from brokerctl.platform.private_files import refused
from brokerctl.platform.system import os, take_no_signal
from brokerctl.store.file.disk import LOCKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System

SUFFIX = ".lock"
LOCK_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def pauses_for(system: System, deadline: float) -> Pauses:
    """Return the pauses of who waits for a grant: its holder talks to an issuer, as a rule."""
    return Pauses(system, deadline, first_s=0.0005, last_s=0.02)


def wait_for_another(folder: Folder, grant: str, deadline: float) -> None:
    """Return when the grant's lock is free; LockTimeoutError names its holder at the `deadline`.

    The deadline is monotonic. No lock is kept: the shared one that was waited for is given up at
    once, so that it keeps nobody else from having it. What is found here decides nothing: whoever
    came to change the grant takes the lock and looks again.
    """
    system, path = folder.system, f"{LOCKS}/{grant}{SUFFIX}"
    try:
        fd = system.open(path, LOCK_FLAGS, dir_fd=folder.fd)
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(f"{folder.path}/{path}", error) from error
    waiter = _Waiter(fd, system)
    try:
        if not waiter.waits_until(deadline):
            from brokerctl.store.file.lock_holder import read_held  # noqa: PLC0415 - when all is lost

            raise read_held(fd, system)
    except OSError as error:
        raise refused(f"{folder.path}/{path}", error) from error
    finally:
        waiter.leave()


class _Waiter:
    """One open lock file, waited for by a thread: only so can a wait for flock be bounded.

    A timer's signal would do it too, but the timer may be our caller's (`alarm` outlives `exec`).
    """

    __slots__ = ("_fd", "_is_over", "_is_waiting", "_system", "_trouble")

    def __init__(self, fd: int, system: System) -> None:
        self._fd = fd
        self._system = system
        self._is_waiting = False
        self._is_over = _thread.allocate_lock()
        self._trouble: OSError | None = None

    def waits_until(self, deadline: float) -> bool:
        """Return whether the lock was free before the deadline; raises OSError."""
        if try_lock(self._fd, self._system, fcntl.LOCK_SH):
            return True
        self._is_over.acquire()
        try:
            _thread.start_new_thread(self._wait, ())
        except RuntimeError:  # a limit of threads or memory
            return self._look_until(deadline)
        self._is_waiting = True
        if not self._is_over.acquire(timeout=max(0.0, deadline - self._system.monotonic())):
            return False
        self._is_waiting = False
        if self._trouble is None:
            return True
        if self._trouble.errno in BUSY:  # a file system, or memory, whose locks don't wait
            return self._look_until(deadline)
        raise self._trouble

    def _wait(self) -> None:
        take_no_signal()
        try:
            self._system.flock(self._fd, fcntl.LOCK_SH)
            self._system.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            self._trouble = error
        self._is_over.release()

    def _look_until(self, deadline: float) -> bool:
        return lock_by(self._fd, self._system, pauses_for(self._system, deadline), fcntl.LOCK_SH)

    def leave(self) -> None:
        """Close the file, which gives up a lock; a thread that waits for it ends with us."""
        if not self._is_waiting:
            self._system.close(self._fd)
