"""Replaces a file that people edit too: under its folder's lock, in one rename, mode kept."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from brokerctl.errors import LockTimeoutError, UsageError
from brokerctl.files import write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 5.0
_POLL_S = 0.02


@contextmanager
def locked_folder(folder: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the folder's own lock, which leaves no file behind; LockTimeoutError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LockTimeoutError(f"somebody else is changing {folder}") from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(fd)


@contextmanager
def locked_as_its_tool_does(path: str, suffix: str | None) -> Iterator[None]:
    """Hold the lock that the tool takes for its own changes, if it takes one: else one is lost."""
    if suffix is None:
        yield
        return
    lock = path + suffix
    try:
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        hint = f"try again; if nothing is running that changes it, remove {lock} first"
        raise UsageError(f"{path} is being changed by its tool", hint=hint) from None
    try:
        yield
    finally:
        os.unlink(lock)


def read_regular(path: str, limit: int | None = None) -> bytes:
    """Return a file's bytes, none for what is no regular file; OSError if it can't be read.

    A FIFO or a device would be waited for, or never end. Of more bytes than `limit` none is read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return b""
        if limit is not None and found.st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return file.read()


def replace_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Put a file of these bytes at `path`, which must be no link; `mode` is for a new one."""
    folder, group = os.path.dirname(path), None
    try:
        before = os.stat(path)
        mode, group = stat.S_IMODE(before.st_mode), before.st_gid
    except FileNotFoundError:
        pass
    temporary = f"{folder}/.tmp-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600)
    try:
        try:
            os.fchmod(fd, mode if _is_given(fd, group) else mode & ~stat.S_IRWXG)
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(folder)


def _is_given(fd: int, group: int | None) -> bool:
    """Say whether a file is its group's, who alone may have been meant by the mode."""
    try:
        if group is not None and os.fstat(fd).st_gid != group:
            os.fchown(fd, -1, group)
    except OSError:
        return False
    return True


def sync_folder(folder: str) -> None:
    """Make what was renamed or removed in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
