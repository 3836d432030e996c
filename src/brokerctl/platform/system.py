"""The system calls that store, keys and audit make, as one argument: where faults are injected.

Everything that touches the disk takes a `System` (this module's `SYSTEM` in the program, a faulty
one in the tests) and calls nothing of `os` itself.
"""

from __future__ import annotations

import fcntl
import sys
import time

TYPE_CHECKING = False

__all__ = [
    "SYSTEM",
    "System",
    "hold_streams",
    "last_words",
    "os",
    "parent_of",
    "read_environ",
    "signals",
    "stat",
    "take_no_signal",
]
if TYPE_CHECKING:
    import os
    import signal as signals
    import stat
    from _thread import LockType
    from collections.abc import Iterator, Mapping
    from typing import Any
else:
    # Half of `os` and `stat` is Python that no warm hand-out needs, and it costs a tenth of an
    # interpreter's start. This one module may use their C halves; the public ones are the fallback,
    # and a contract test holds both to the same functions.
    try:
        import posix as os
    except ImportError:  # pragma: no cover - another system than POSIX
        import os
    try:
        import _stat as stat
    except ImportError:  # pragma: no cover - another interpreter
        import stat
    try:
        import _signal as signals  # its enums would cost a third of a start
    except ImportError:  # pragma: no cover - another interpreter
        import signal as signals


_EUID = os.geteuid()


def read_environ() -> Mapping[str, str]:
    """Return the environment as text, as `os.environ` shows it; a change is nobody else's."""
    found: Any = os.environ
    if type(found) is not dict:  # pragma: no cover - the public module's
        return found  # type: ignore[no-any-return]  # a mapping of texts
    coding, errors = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
    return {
        name.decode(coding, errors): value.decode(coding, errors) for name, value in found.items()
    }


def hold_streams() -> None:
    """Fill standard streams that the caller closed with what can be neither read nor written.

    Security: else the next file of ours, the log for one, would be what a token is printed to.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/", os.O_RDONLY | os.O_CLOEXEC)  # the lowest free one; a child has none


def last_words(error: Exception) -> str:
    """Return what can be said without importing anything: there may be no memory, or no file left.

    Security: of a bug the kind alone, since its text may hold a value.
    """
    reason = getattr(error, "strerror", None)
    return reason.lower() if isinstance(reason, str) else f"unexpected {type(error).__name__}"


def take_no_signal() -> None:
    """Let no signal be taken by this thread: the main one may be holding them back."""
    signals.pthread_sigmask(signals.SIG_BLOCK, signals.valid_signals())


def parent_of(path: str) -> str:
    """Return the folder that a path is in, as `os.path.dirname` does, and `/` of any root.

    `os.path.dirname` leaves `//` as it is, so that whoever walks upwards would never arrive.
    """
    head = path[: path.rfind("/") + 1]
    return head.rstrip("/") or head[:1]


class System:
    """`os` and `fcntl.flock` under the names that the rooms below the broker use."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    read = staticmethod(os.read)
    pread = staticmethod(os.pread)
    write = staticmethod(os.write)
    pwrite = staticmethod(os.pwrite)
    lseek = staticmethod(os.lseek)
    ftruncate = staticmethod(os.ftruncate)
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(getattr(os, "fdatasync", os.fsync))  # macOS has no fdatasync
    fstat = staticmethod(os.fstat)
    stat = staticmethod(os.stat)
    statvfs = staticmethod(os.statvfs)
    mkdir = staticmethod(os.mkdir)
    rename = staticmethod(os.rename)
    symlink = staticmethod(os.symlink)
    unlink = staticmethod(os.unlink)
    rmdir = staticmethod(os.rmdir)
    fchmod = staticmethod(os.fchmod)
    fchown = staticmethod(os.fchown)
    flock = staticmethod(fcntl.flock)
    dup = staticmethod(os.dup)
    sleep = staticmethod(time.sleep)
    monotonic = staticmethod(time.monotonic)
    getpid = staticmethod(os.getpid)
    geteuid = staticmethod(lambda: _EUID)  # it stays, and is asked for with every file

    @staticmethod
    def wait_for(lock: LockType, seconds: float) -> bool:
        """Wait for what another thread of ours releases."""
        return lock.acquire(timeout=seconds)

    @staticmethod
    def listdir(fd: int) -> list[str]:
        """Return the names in an open folder."""
        return os.listdir(fd)

    @staticmethod
    def each_name(fd: int) -> Iterator[str]:
        """Yield the names in an open folder as it is read, in no order, never all at once.

        A name that is made or renamed meanwhile may be left out.
        """
        # Opened anew: a second reader of the same descriptor would move its place.
        own = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            with os.scandir(own) as found:
                for entry in found:
                    yield entry.name
        finally:
            os.close(own)

    @staticmethod
    def sync() -> None:
        """Bring everything that was written to the disks."""
        os.sync()


SYSTEM = System()
