"""Waiting for a grant's lock: the try, the pauses, and a wait that keeps no lock.

Of 256 processes on an expired token one redeems. The others only want to know that it is done, so
the kernel wakes them when the lock is given up, and they load nothing that a warm hit does not
need. Were each of them to look now and then, or to take the lock in turn, the crowd would be paid
for half as much again.
"""

from __future__ import annotations

import _thread
import fcntl

from brokerctl.freshness import AT_WORK_TIMES
from brokerctl.platform.flock import BUSY, Pauses, lock_by, try_lock
from brokerctl.platform.private_files import refused
from brokerctl.platform.system import os, take_no_signal
from brokerctl.platform.work_clock import work_time
from brokerctl.store.file.disk import LOCKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System

SUFFIX = ".lock"
_LOOK_S = 1.0  # between two looks at a holder that is late
LOCK_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def lock_until(fd: int, system: System, deadline: float, how: int = fcntl.LOCK_EX) -> bool:
    """Take the lock of an open file; False where it was not free by the deadline, see `left_s`.

    The holder talks to an issuer, as a rule: so the pauses are longer than for other locks.
    """
    begun = work_time(system)
    pauses = Pauses(system, system.monotonic() + deadline - begun, first_s=0.0005, last_s=0.02)
    while not lock_by(fd, system, pauses, how):
        left = left_s(fd, system, begun, deadline)
        if left <= 0:
            return False
        pauses.prolong(left)
    return True


def left_s(fd: int, system: System, begun: float, deadline: float) -> float:
    """Return for how many seconds to wait before the next such question; 0.0: give up.

    Begin and deadline are of the work clock. A wait that is not over for us, since the machine gave
    us no processor, goes on; and so does one for a holder that is at work, up to a limit that grows
    with the wait. One that had no time at all is a mere look.
    """
    late_s = work_time(system) - deadline
    if late_s < 0:
        return -late_s
    if late_s >= (AT_WORK_TIMES - 1) * (deadline - begun):
        return 0.0
    from brokerctl.store.file.lock_holder import is_at_work  # noqa: PLC0415 - when all seems lost

    return _LOOK_S if is_at_work(fd, system, late_s) else 0.0


def wait_for_another(folder: Folder, grant: str, deadline: float) -> None:
    """Return when the grant's lock is free; LockTimeoutError names its holder at the `deadline`.

    The deadline is of the work clock, and later for a holder that is at work. No lock is kept: the
    shared one that was waited for is given up at once, so that it keeps nobody else from having it.
    What is found here decides nothing: whoever came to change the grant takes the lock and looks
    again.
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
        begun = work_time(self._system)
        if try_lock(self._fd, self._system, fcntl.LOCK_SH):
            return True
        self._is_over.acquire()
        try:
            _thread.start_new_thread(self._wait, ())
        except RuntimeError:  # a limit of threads or memory
            return self._look_until(deadline)
        self._is_waiting = True
        left = deadline - begun
        while not self._system.wait_for(self._is_over, max(0.0, left)):
            left = left_s(self._fd, self._system, begun, deadline)
            if left <= 0:
                return self._is_free()
        self._is_waiting = False
        if self._trouble is None:
            return True
        if self._trouble.errno in BUSY:  # a file system, or memory, whose locks don't wait
            return self._look_until(deadline)
        raise self._trouble

    def _is_free(self) -> bool:
        """Look once more: a thread that had the lock may have got no processor to say it."""
        if not try_lock(self._fd, self._system, fcntl.LOCK_SH):
            return False
        self._system.flock(self._fd, fcntl.LOCK_UN)
        return True

    def _wait(self) -> None:
        take_no_signal()
        try:
            self._system.flock(self._fd, fcntl.LOCK_SH)
            self._system.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            self._trouble = error
        self._is_over.release()

    def _look_until(self, deadline: float) -> bool:
        return lock_until(self._fd, self._system, deadline, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Close the file, which gives up a lock; a thread that waits for it ends with us."""
        if not self._is_waiting:
            self._system.close(self._fd)
