"""The system calls that store, keys and audit make, as one argument: where faults are injected.

Everything that touches the disk takes a `System` (this module's `SYSTEM` in the program, a faulty
one in the tests) and calls nothing of `os` itself.
"""

from __future__ import annotations

import fcntl
import os
import time


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
    mkdir = staticmethod(os.mkdir)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    rmdir = staticmethod(os.rmdir)
    fchmod = staticmethod(os.fchmod)
    flock = staticmethod(fcntl.flock)
    sleep = staticmethod(time.sleep)
    monotonic = staticmethod(time.monotonic)
    getpid = staticmethod(os.getpid)
    geteuid = staticmethod(os.geteuid)

    @staticmethod
    def listdir(fd: int) -> list[str]:
        """Return the names in an open folder."""
        return os.listdir(fd)


SYSTEM = System()
