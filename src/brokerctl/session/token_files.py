"""Tokens in private files: 0600 in a 0700 folder of the session's own, in memory where possible."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from brokerctl.errors import StoreError, shell_word
from brokerctl.platform.private_files import TEMPORARY, open_folder, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System
    from brokerctl.secret import Secret

    Identity = tuple[int, int]  # device and inode

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the tmpfs of a machine without a user session
_PREFIX = "brokerctl-"
SOCKET_NAME = ".socket"  # in the folder: no variable, and so no file, is named so
_OTHER_THING = (errno.ELOOP, errno.ENOTDIR)  # a link, or a file, in the folder's place
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def folder_path(environ: Mapping[str, str], session_id: str, system: System) -> str:
    """Return where a session's files go: $XDG_RUNTIME_DIR, else the shared tmpfs, else TMPDIR."""
    for base in (environ.get("XDG_RUNTIME_DIR"), _SHARED_MEMORY, environ.get("TMPDIR"), "/tmp"):  # noqa: S108 - a 0700 folder of ours, made exclusively, in it
        if base and base.startswith("/") and _is_usable(base, system):
            return os.path.join(base, _PREFIX + session_id)
    raise StoreError("there is no folder for token files", hint="set XDG_RUNTIME_DIR")


def _is_usable(base: str, system: System) -> bool:
    """Return whether a folder is writable, and private or sticky as /tmp is."""
    try:
        found = system.stat(base)
    except OSError:
        return False
    is_private = found.st_uid == system.geteuid() and not found.st_mode & 0o022
    is_sticky = bool(found.st_mode & stat.S_ISVTX)
    return (
        stat.S_ISDIR(found.st_mode)
        and (is_private or is_sticky)
        and os.access(base, os.W_OK | os.X_OK)
    )


def write_files(path: str, values: Mapping[str, Secret], system: System) -> Identity:
    """Make the folder and a file for each variable; the token alone, without a newline.

    Returns what the folder is known by when a file in it is replaced.
    """
    folder = open_folder(path, system)
    assert folder is not None  # noqa: S101 - it is made if missing
    try:
        for name, value in values.items():
            folder.write(name, value.reveal().encode("utf-8"))
        return _identity(folder)
    finally:
        folder.close()


class FileGoneError(StoreError):
    """A token's file, or its folder, was taken away by whoever it was for, or made another thing.

    Security: so no token is written there again.
    """


class TokenFolder:
    """The folder of a session, opened again, in which files are replaced."""

    def __init__(self, path: str, identity: Identity, system: System) -> None:
        """Raise FileGoneError where the path leads to another folder than `identity`, or none."""
        found = _open_again(path, system)
        if found is None or _identity(found) != identity:
            raise FileGoneError(f"{path} was taken away")
        self._folder = found

    def __enter__(self) -> Self:
        """Return itself; the folder is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.close()

    def check(self, name: str) -> os.stat_result:
        """Return what a file is like; FileGoneError if it is no file any more."""
        folder = self._folder
        try:
            found = folder.system.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            raise FileGoneError(f"{folder.path}/{name} was taken away") from None
        except OSError as error:
            raise refused(f"{folder.path}/{name}", error) from error
        if not stat.S_ISREG(found.st_mode):
            raise FileGoneError(f"{folder.path}/{name} is no file any more")
        return found

    def replace(self, name: str, value: Secret) -> None:
        """Put another token into a file, whose mode and owner stay, or FileGoneError, StoreError.

        Whoever reads it at any moment reads the one or the other, whole.
        """
        like, folder = self.check(name), self._folder
        temporary = f"{TEMPORARY}{os.urandom(8).hex()}"
        try:
            folder.write_new(temporary, value.reveal().encode("utf-8"))
            try:
                self._make_like(temporary, like)
                folder.system.rename(temporary, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
            except BaseException:
                with suppress(OSError):  # it goes with the folder
                    folder.system.unlink(temporary, dir_fd=folder.fd)
                raise
        except OSError as error:
            raise refused(f"{folder.path}/{name}", error) from error

    def _make_like(self, name: str, like: os.stat_result) -> None:
        """Give a file the owner, and then the mode, of the one that it will take the place of."""
        system = self._folder.system
        fd = system.open(name, _FILE_FLAGS, dir_fd=self._folder.fd)
        try:
            made = system.fstat(fd)
            if (made.st_uid, made.st_gid) != (like.st_uid, like.st_gid):
                system.fchown(fd, like.st_uid, like.st_gid)
            system.fchmod(fd, stat.S_IMODE(like.st_mode))
        finally:
            system.close(fd)


def _open_again(path: str, system: System) -> Folder | None:
    try:
        return open_folder(path, system, create=False)
    except StoreError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _OTHER_THING:
            raise FileGoneError(error.message) from error
        raise


def _identity(folder: Folder) -> Identity:
    found = folder.system.fstat(folder.fd)
    return (found.st_dev, found.st_ino)


def remove_files(path: str, system: System, *, keeps_socket: bool = False) -> None:
    """Remove the folder and all that is in it; nothing there is fine. Raises StoreError.

    `keeps_socket`: but for the socket, at which a supervisor that lives says that it has ended.

    Security: only a folder with our prefix, opened without following a link, is emptied. Changes by
    the child (another mode, a folder in it) do not stop the removal of token files.
    """
    if not os.path.basename(path).startswith(_PREFIX):
        raise StoreError(f"{path} is not a folder of a session")
    try:
        fd = system.open(path, _FOLDER_FLAGS)
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(path, error) from error
    try:
        if system.fstat(fd).st_uid != system.geteuid():
            raise StoreError(f"{path} belongs to another user")
        system.fchmod(fd, 0o700)
        is_left = _empty(fd, system, (SOCKET_NAME,) if keeps_socket else ())
        if not is_left:
            system.rmdir(path)
    except FileNotFoundError:
        return  # another process ends the same session
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise StoreError(
            f"can't remove {path}: {reason}", hint=f"run 'rm -r {shell_word(path)}'"
        ) from error
    finally:
        system.close(fd)


def _empty(fd: int, system: System, kept: tuple[str, ...]) -> bool:
    """Unlink every other file, also after errors; the first error is raised at the end.

    Returns whether one of `kept` is there.
    """
    first: OSError | None = None
    names = system.listdir(fd)
    for name in names:
        if name in kept:
            continue
        try:
            system.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            continue  # as above
        except OSError as error:
            first = first or error
    if first is not None:
        raise first
    return any(name in kept for name in names)
