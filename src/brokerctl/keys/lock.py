"""The locks of the keys folder.

`.lock` is for first use and `rekey`, one at a time; readers never take it. `.gate` lets one process
at a time ask a slow keeper; a process that does not get it in a few seconds goes on without it.
"""

from __future__ import annotations

import contextlib

from brokerctl.errors import LockTimeoutError, StoreError
from brokerctl.platform.flock import Pauses, lock_by
from brokerctl.platform.private_files import checked_file, refused, write_all
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.platform.private_files import Folder

NAME, GATE = ".lock", ".gate"
WAIT_S, GATE_S = 30.0, 4.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def locked(folder: Folder, wait_s: float = WAIT_S, name: str = NAME) -> Iterator[None]:
    """Hold the lock, which dies with its holder; LockTimeoutError names who has it."""
    path, system = f"{folder.path}/{name}", folder.system
    try:
        fd = system.open(name, _FLAGS, 0o600, dir_fd=folder.fd)
    except OSError as error:
        raise refused(path, error) from error
    try:
        checked_file(fd, path, system)
        _acquire(fd, path, folder, wait_s)
        yield
    finally:
        system.close(fd)


@contextlib.contextmanager
def gate(folder: Folder) -> Iterator[None]:
    """Wait for other processes that ask the keeper, for a few seconds at most."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(LockTimeoutError, StoreError):
            held.enter_context(locked(folder, GATE_S, GATE))
        yield


def _acquire(fd: int, path: str, folder: Folder, wait_s: float) -> None:
    system = folder.system
    try:
        is_ours = lock_by(fd, system, Pauses(system, system.monotonic() + wait_s))
    except OSError as error:
        raise refused(path, error) from error
    if not is_ours:
        holder = system.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise LockTimeoutError(
            f"{path} is held by process {holder}",
            hint=f"if it is stopped: kill -CONT {holder}" if holder.isdecimal() else None,
        )
    with contextlib.suppress(OSError):  # a full disk: the next waiter can't name us, that is all
        system.ftruncate(fd, 0)
        system.lseek(fd, 0, 0)
        write_all(fd, b"%d\n" % system.getpid(), system)
