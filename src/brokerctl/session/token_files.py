"""Tokens in private files: 0600 in a 0700 folder of the session's own, in memory where possible."""

from __future__ import annotations

import os
import stat

from brokerctl.errors import StoreError, shell_word
from brokerctl.platform.private_files import open_folder, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.platform.system import System
    from brokerctl.secret import Secret

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the tmpfs of a machine without a user session
_PREFIX = "brokerctl-"
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


def write_files(path: str, values: Mapping[str, Secret], system: System) -> None:
    """Make the folder and a file for each variable; the token alone, without a newline."""
    folder = open_folder(path, system)
    assert folder is not None  # noqa: S101 - it is made if missing
    try:
        for name, value in values.items():
            folder.write(name, value.reveal().encode("utf-8"))
    finally:
        folder.close()


def remove_files(path: str, system: System) -> None:
    """Remove the folder and all that is in it; nothing there is fine. Raises StoreError.

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
        _empty(fd, system)
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


def _empty(fd: int, system: System) -> None:
    """Unlink every file, also after errors; the first error is raised at the end."""
    first: OSError | None = None
    for name in system.listdir(fd):
        try:
            system.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            continue  # as above
        except OSError as error:
            first = first or error
    if first is not None:
        raise first
