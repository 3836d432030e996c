"""Replaces a file that people edit too: under its folder's lock, in one rename, mode kept."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from brokerctl.errors import LockTimeoutError, UsageError, shell_word
from brokerctl.platform.flock import Pauses, lock_by
from brokerctl.platform.private_files import write_all
from brokerctl.platform.system import SYSTEM, signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerctl.platform.system import System

WAIT_S = 5.0
TEMPORARY = ".tmp-"
_POLL_S = 0.02
_MARK = "brokerctl-"  # begins what a lock of ours leads to
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # of a folder that has no symbolic links


@contextmanager
def locked_folder(folder: str, wait_s: float = WAIT_S, system: System = SYSTEM) -> Iterator[int]:
    """Hold the folder's own lock, which leaves no file behind; LockTimeoutError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not lock_by(fd, system, Pauses(system, system.monotonic() + wait_s, last_s=_POLL_S)):
            raise LockTimeoutError(f"somebody else is changing {folder}")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def held_signals() -> Iterator[None]:
    """Take signals only when what is begun is done: else a lock, or a copy, would stay behind."""
    before = signals.pthread_sigmask(signals.SIG_BLOCK, signals.valid_signals())
    try:
        yield
    finally:
        signals.pthread_sigmask(signals.SIG_SETMASK, before)


@contextmanager
def locked_as_its_tool_does(
    path: str, suffix: str | None, system: System = SYSTEM
) -> Iterator[None]:
    """Hold the lock that the tool takes for its own changes, if it takes one: else one is lost.

    The folder's lock must be held. The tool's is a link that leads nowhere and says whose it is:
    one of a brokerctl that was killed is known by that, and taken over.
    """
    if suffix is None:
        yield
        return
    lock = path + suffix
    if is_left_lock(lock):
        system.unlink(lock)
    try:
        _make_lock(lock, system)
    except FileExistsError:
        hint = (
            f"try again; if nothing is running that changes it, run 'rm {shell_word(lock)}' first"
        )
        raise UsageError(f"{path} is being changed by its tool", hint=hint) from None
    try:
        yield
    finally:
        _remove_lock(lock, system)


def is_left_lock(lock: str) -> bool:
    """Return whether a tool's lock is ours: left behind, to who holds the folder's lock."""
    return _read_link(lock).startswith(_MARK)


def _remove_lock(lock: str, system: System) -> None:
    try:
        system.unlink(lock)
    except OSError as error:
        if os.path.lexists(lock):
            reason = os.strerror(error.errno or 0).lower()
            raise UsageError(
                f"all is done, but {lock} can't be removed: {reason}",
                hint=f"run 'rm {shell_word(lock)}'",
            ) from error


def _make_lock(lock: str, system: System) -> None:
    mark = f"{_MARK}{system.getpid()}"
    try:
        system.symlink(mark, lock)
    except OSError as error:
        if _read_link(lock) == mark:
            return  # it was made all the same, as a network's file system may have it
        if error.errno not in _NO_LINKS:
            raise
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        system.close(system.open(lock, flags, 0o600))


def _read_link(path: str) -> str:
    """Return where a link leads; nothing for what is none."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


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


def replace_file(
    path: str,
    data: bytes,
    mode: int = 0o600,
    *,
    system: System = SYSTEM,
    prefix: str = TEMPORARY,
    like: str | None = None,
    last: Callable[[], None] | None = None,
) -> None:
    """Put a file of these bytes at `path`, which must be no link.

    A file that is there keeps its mode, owner and group; a new one has `mode`, and what it is
    `like` its owner. `last` looks right before the rename whether it may be: a tool without a lock
    can have written while ours went to the disk. OSError, also where an owner can't be kept: then
    nothing is changed. No signal leaves a copy behind, which may hold a secret.
    """
    with held_signals():
        _replace(path, data, mode, system, prefix, like, last)


def _replace(
    path: str,
    data: bytes,
    mode: int,
    system: System,
    prefix: str,
    like: str | None,
    last: Callable[[], None] | None,
) -> None:
    folder, there = os.path.dirname(path), _find_stat(path, system)
    owned = there or (_find_stat(like, system) if like else None)
    mode = stat.S_IMODE(there.st_mode) if there else mode
    temporary = f"{folder}/{prefix}{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = system.open(temporary, flags, 0o600)
    try:
        try:
            is_its_group = owned is None or _is_given(fd, owned, system)
            system.fchmod(fd, mode if is_its_group else _without_group(mode))
            write_all(fd, data, system)
            system.fsync(fd)
        finally:
            system.close(fd)
        if last is not None:
            last()
        system.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            system.unlink(temporary)
        raise
    sync_folder(folder, system)


def _find_stat(path: str, system: System) -> os.stat_result | None:
    try:
        return system.stat(path)
    except FileNotFoundError:
        return None


def _is_given(fd: int, owned: os.stat_result, system: System) -> bool:
    """Give a file its owner, and say whether it is its group's, whom its mode may have meant."""
    found = system.fstat(fd)
    if found.st_uid != owned.st_uid:
        system.fchown(fd, owned.st_uid, -1)
    if found.st_gid == owned.st_gid:
        return True
    try:
        system.fchown(fd, -1, owned.st_gid)
    except OSError:
        return False
    return True


def _without_group(mode: int) -> int:
    """Return a mode for another group: of the rights of the one before it has what all have."""
    return mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3


def sync_folder(folder: str, system: System = SYSTEM) -> None:
    """Make what was renamed or removed in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        system.fsync(fd)
    finally:
        os.close(fd)


def permission_hint(path: str, error: OSError, *, writes: bool) -> str | None:
    """Return what lets us read or change a file, for an error of rights; None for another one."""
    if error.errno == errno.EROFS:
        return "it lies where nothing can be written: have the tool use another file"
    if error.errno not in {errno.EACCES, errno.EPERM}:
        return None
    folder = os.path.dirname(path)
    levels = [folder[:at] for at, char in enumerate(folder) if char == "/" and at]
    needed = [(one, os.X_OK, "u+x") for one in (*levels, folder)]
    needed.append((folder, os.W_OK, "u+w") if writes else (path, os.R_OK, "u+r"))
    for one, right, mode in needed:
        if os.access(one, right, effective_ids=True):
            continue
        if os.stat(one).st_uid == os.geteuid():
            return f"run 'chmod {mode} {shell_word(one)}'"
        return _belongs(one)
    return _belongs(path) if writes and os.path.exists(path) else None


def _belongs(path: str) -> str | None:
    owner = os.stat(path).st_uid
    if owner == os.geteuid():
        return None
    return f"{path} belongs to another user (uid {owner}): run it as that user"
