"""Makes the planned changes of other tools' files: all of them or none, whatever happens.

A copy of the original lies next to the new file until our part is taken out.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.errors import LockTimeoutError, UsageError
from brokerctl.platform.system import SYSTEM
from brokerctl.platform.user_files import (
    held_signals,
    is_left_lock,
    locked_as_its_tool_does,
    locked_folder,
    permission_hint,
    read_regular,
    replace_file,
    sync_folder,
)

if TYPE_CHECKING:
    from brokerctl.helpers.edit import SetupFile
    from brokerctl.platform.system import System

BACKUP = ".before-brokerctl"
_TEMPORARY = ".brokerctl-install-"  # prefix of a file that is being written


class FileChange(NamedTuple):
    """One change of one file: its text before (None: there is none) and after (None: remove)."""

    path: str
    before: str | None
    after: str | None
    has_ours: tuple[bool, bool]  # whether our part is in it before and after
    place: SetupFile

    @property
    def is_change(self) -> bool:
        """Return whether anything would be written."""
        return self.before != self.after


class Planned(NamedTuple):
    """What is to be done for one tool; the first file is the tool's own configuration."""

    tool: str
    changes: tuple[FileChange, ...]
    advice: str | None = None  # what the person has to do
    warning: str | None = None  # what will stop working, said before the change
    left: tuple[
        str, ...
    ] = ()  # files of lines that are not ours, by which a tool goes on to ask brokerctl

    @property
    def path(self) -> str:
        """Return the tool's own configuration file."""
        return self.changes[0].path

    @property
    def backups(self) -> list[str]:
        """Return the copies of the original files that exist."""
        found = [one.path + BACKUP for one in self.changes]
        return [path for path in found if os.path.exists(path)]

    @property
    def is_change(self) -> bool:
        """Return whether anything would be written."""
        return any(change.is_change for change in self.changes)


def carry_out(planned: Planned, system: System = SYSTEM) -> None:
    """Write what was planned, all of it or nothing; UsageError if a file can't be changed.

    A file that another file names is written before that one, and removed after it, so that at
    every moment a named file exists.
    """
    is_in = any(one.has_ours[1] for one in planned.changes)
    todo = [one for one in planned.changes if one.is_change]
    todo.sort(key=lambda one: one.place.is_own, reverse=is_in)
    with ExitStack() as held:
        made = _hold_folders(held, todo, system)
        held.enter_context(held_signals())
        try:
            _hold_files(held, todo, system)
            _write_all(todo, system)
        except BaseException:
            for folder in reversed(made):
                with contextlib.suppress(OSError):
                    system.rmdir(folder)
            raise
        for change in planned.changes:
            with contextlib.suppress(OSError, UsageError):  # a copy that stays does no harm
                _remove_backup(change, system)


def tidy(planned: Planned, system: System = SYSTEM) -> None:
    """Remove what a killed run left in the folders of files that need no change."""
    for change in planned.changes:
        folder = os.path.dirname(change.path)
        try:
            with locked_folder(folder, 0), held_signals():
                _tidy(change, folder, system)
        except (OSError, UsageError, LockTimeoutError):
            continue  # another run has the lock, or the folder is read-only


def _tidy(change: FileChange, folder: str, system: System) -> None:
    _remove_leftovers(folder, system)
    lock = change.path + (change.place.lock or "")
    if change.place.lock and is_left_lock(lock):
        system.unlink(lock)
    _remove_backup(change, system)


def _hold_folders(held: ExitStack, todo: list[FileChange], system: System) -> list[str]:
    """Lock the folders of all files, in sorted order; return those that were made for it."""
    made: list[str] = []
    for folder in sorted({os.path.dirname(one.path) for one in todo}):
        try:
            made += _make_folder(folder, system)
            held.enter_context(locked_folder(folder, system=system))
        except OSError as error:
            raise _refused("use", folder, error) from error
    return made


def _make_folder(folder: str, system: System) -> list[str]:
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    made = []
    for one in reversed(missing):
        try:
            system.mkdir(one, 0o777)
        except FileExistsError:
            continue  # it was made meanwhile; if it is no folder, opening it fails
        made.append(one)
    return made


def _hold_files(held: ExitStack, todo: list[FileChange], system: System) -> None:
    """Lock the files as their tools do, and check that none has changed since the plan."""
    for change in todo:
        try:
            _remove_leftovers(os.path.dirname(change.path), system)
            lock = locked_as_its_tool_does(change.path, change.place.lock, system)
            held.enter_context(lock)
        except OSError as error:
            raise _refused("change", change.path, error) from error
        if read_text(change.path) != change.before:
            raise UsageError(f"{change.path} has changed meanwhile", hint="try again")


def find_leftovers(path: str) -> list[str]:
    """Return the copies of a file that a killed run left."""
    folder, name = os.path.split(path)
    try:
        found = os.listdir(folder)
    except OSError:
        return []
    return [f"{folder}/{one}" for one in sorted(found) if one.startswith(_TEMPORARY + name)]


def _remove_leftovers(folder: str, system: System) -> None:
    """Remove the unfinished copies of a killed run; the folder's lock is held."""
    for name in os.listdir(folder):
        if name.startswith(_TEMPORARY):
            system.unlink(os.path.join(folder, name))


def _write_all(todo: list[FileChange], system: System) -> None:
    done: list[FileChange] = []
    for change in todo:
        try:
            done.append(change)
            _write(change, system)
        except OSError as error:
            kept = [one.path for one in reversed(done) if not _undo(one, system)]
            refused = _refused("change", change.path, error)
            if kept:
                hint = f"{' and '.join(kept)} can't be put back either: run it again"
                raise UsageError(refused.message, hint=hint) from error
            raise refused from error


def _remove_backup(change: FileChange, system: System) -> None:
    """Remove the copy of the original if the file is equal to it again."""
    backup = change.path + BACKUP
    if not change.has_ours[1] and change.after is not None and read_text(backup) == change.after:
        system.unlink(backup)


def _write(change: FileChange, system: System) -> None:
    path = change.path
    had, has = change.has_ours
    if has and not had and change.before is not None:
        mode = os.stat(path).st_mode & 0o700
        _replace(path + BACKUP, change.before, mode, system, like=path)
    _put_file(change, change.after, system)


def _put_file(change: FileChange, text: str | None, system: System) -> None:
    """Make a file have this text, or not be there."""
    if text is None:
        system.unlink(change.path)
        sync_folder(os.path.dirname(change.path), system)
    else:
        _replace(change.path, text, change.place.mode, system)


def _replace(path: str, text: str, mode: int, system: System, like: str | None = None) -> None:
    data = text.encode("utf-8", "surrogateescape")
    prefix = f"{_TEMPORARY}{os.path.basename(path)}-"
    replace_file(path, data, mode, system=system, prefix=prefix, like=like)


def _undo(change: FileChange, system: System) -> bool:
    """Restore a file; return whether it is as it was."""
    try:
        if read_text(change.path) != change.before:
            _put_file(change, change.before, system)
        had, has = change.has_ours
        if has and not had and change.before is not None and os.path.exists(change.path + BACKUP):
            system.unlink(change.path + BACKUP)
    except (OSError, UsageError):
        return _is_as_before(change)
    return True


def _is_as_before(change: FileChange) -> bool:
    try:
        return read_text(change.path) == change.before
    except UsageError:
        return False


def _refused(doing: str, path: str, error: OSError) -> UsageError:
    reason = os.strerror(error.errno or 0).lower()
    hint = permission_hint(path, error, writes=doing != "read")
    return UsageError(f"can't {doing} {path}: {reason}", hint=hint)


def read_text(path: str) -> str | None:
    """Return a file's text, whatever its bytes are; UsageError if it can't be read."""
    try:
        return read_regular(path).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused("read", path, error) from error
