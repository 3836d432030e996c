"""The log's own lock: innermost, held for microseconds, and never silent about who holds it.

`log.lock` is never removed. Its first line says who took the lock last; behind it lie the
counters of `repeats`, so that neither costs another file.

A record takes microseconds, so nearly nobody waits long for the lock: a crowd on a machine that is
short of processors does, and a process that meets a holder that was stopped. In such a crowd a
process that looks now and then gets nothing; one that stands in the kernel's line is woken.
"""

from __future__ import annotations

import _thread
import fcntl

from brokerctl.errors import AuditError
from brokerctl.platform.flock import BUSY, Pauses, is_current, lock_by, try_lock
from brokerctl.platform.private_files import checked_file, refused
from brokerctl.platform.process import STOPPED, WORKING, find_process, read_host, read_pid_ns
from brokerctl.platform.system import os, take_no_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System

LOG = "log"
NAME = "log.lock"
HOLDER_BYTES = 128
COUNTERS_BYTES = 16 * 192  # of repeated refusals, behind the holder's line in `log.lock`
_POLL_S = 0.1  # most locks are free long before; then it is a crowd, or nobody goes on
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_STILL_S = 5.0  # in which nobody wrote: then the holder is named
_WORKING_S = 110.0  # the same where the holder is at work: as long as a grant is waited for
_LOOK_S = 0.5
_LOCK_BYTES = 4096  # the holder's line and the counters of refusals


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
            if not lock_by(fd, system, Pauses(system, system.monotonic() + _POLL_S)):
                wait_in_line(folder, fd)
            if is_current(folder, NAME, fd):
                me = f"{system.getpid()} {read_host()} {read_pid_ns(system)}".encode()
                system.pwrite(fd, me.ljust(HOLDER_BYTES - 1) + b"\n", 0)
                return fd
        except BaseException:
            system.close(fd)
            raise
        system.close(fd)


def wait_in_line(folder: Folder, fd: int) -> None:
    """Return when this open file has the lock; AuditError names the holder if nothing moves."""
    from brokerctl.platform.work_clock import work_time  # noqa: PLC0415 - nearly nobody waits

    system, line = folder.system, _Line(folder.system, fd)
    seen, since = _read_progress(folder, fd), work_time(system)
    while not line.is_over(_LOOK_S):
        found, now = _read_progress(folder, fd), work_time(system)
        if found != seen:
            seen, since = found, now
        elif now - since >= _STILL_S and not (_is_working(folder, fd) and now - since < _WORKING_S):
            raise _held(folder, fd)


class _Line:
    """A thread that waits for the lock: only so can a wait for flock be bounded.

    It has a descriptor of its own of the same open file, which it closes in any case. So the lock
    that it brings is its caller's, and goes at once if the caller has gone.
    """

    def __init__(self, system: System, fd: int) -> None:
        self._system = system
        self._fd = fd
        self._done = _thread.allocate_lock()
        self._trouble: OSError | None = None
        self._own = -1
        try:
            self._own = system.dup(fd)
            self._done.acquire()
            _thread.start_new_thread(self._wait, ())
        except (OSError, RuntimeError):  # no descriptor or thread is left: it looks now and then
            if self._own >= 0:
                system.close(self._own)
            self._own = -1

    def _wait(self) -> None:
        take_no_signal()
        try:
            self._system.flock(self._own, fcntl.LOCK_EX)
        except OSError as error:
            self._trouble = error
        finally:
            self._system.close(self._own)
            self._done.release()

    def is_over(self, wait_s: float) -> bool:
        """Return whether the lock was had within a time; raises OSError."""
        if self._own < 0:
            self._system.sleep(wait_s / 50)
            return try_lock(self._fd, self._system)
        if not self._system.wait_for(self._done, wait_s):
            return False
        if self._trouble is None:
            return True
        if self._trouble.errno not in BUSY:
            raise self._trouble
        self._own = -1  # a file system whose locks don't wait
        return try_lock(self._fd, self._system)


def _read_progress(folder: Folder, fd: int) -> tuple[bytes, int, int]:
    """Return what changes with every holder: who it is, what it counted, what it wrote."""
    held = folder.system.pread(fd, _LOCK_BYTES, 0)
    try:
        log = folder.system.stat(LOG, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return held, 0, 0
    return held, log.st_ino, log.st_size


def _find_holder(folder: Folder, fd: int) -> tuple[str, str, bool] | None:
    """Return the pid that took the lock last, where it is, and whether that is here."""
    words = folder.system.pread(fd, HOLDER_BYTES, 0).decode("utf-8", "replace").split()
    if len(words) != 3 or not words[0].isdigit():  # noqa: PLR2004 - pid, host, pid namespace
        return None
    pid, *place = words
    is_here = place == [read_host(), str(read_pid_ns(folder.system))]
    return pid, "" if is_here else f" on '{place[0]}' (pid namespace {place[1]})", is_here


def _is_working(folder: Folder, fd: int) -> bool:
    found = _find_holder(folder, fd)
    return found is not None and found[2] and find_process(found[0], folder.system)[0] in WORKING


def _held(folder: Folder, fd: int) -> AuditError:
    found, hint = _find_holder(folder, fd), "run it again when that process has ended"
    if found is None:
        return AuditError("the log's lock is held by an unknown process", hint=hint)
    pid, where, is_here = found
    if is_here and find_process(pid, folder.system)[0] in STOPPED:
        message = f"the log's lock is held by process {pid}, which is stopped"
        return AuditError(message, hint=f"run 'kill -CONT {pid}'")
    return AuditError(f"the log's lock is held by process {pid}{where}", hint=hint)
