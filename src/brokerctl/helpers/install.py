"""Plans the set-up of a helper in its tool's own configuration, or its removal; finds its state.

A change is planned first, so that it can be shown; only our own part of a file is changed.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.errors import LockTimeoutError, UsageError, shell_word
from brokerctl.helpers.edit.file_changes import (
    BACKUP,
    FileChange,
    Planned,
    find_leftovers,
    read_text,
)
from brokerctl.helpers.setups import SETUPS, Part, tool_name
from brokerctl.platform.user_files import is_left_lock, locked_folder

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from brokerctl.helpers.edit import SetupFile
    from brokerctl.helpers.setups import Setup
    from brokerctl.model import Profile


def find_setup(tool: str) -> tuple[str, Setup]:
    """Return a tool's name in the table and its set-up; UsageError for an unknown one."""
    tool = tool_name(tool)
    if tool not in SETUPS:
        raise UsageError(
            f"helper '{tool}' is not in this version", hint="run 'brokerctl helper list' for all"
        )
    module, _, name = SETUPS[tool].entry.partition(":")
    module = f"brokerctl.helpers.{module}"
    found: Setup = getattr(__import__(module, fromlist=(name,)), name)()
    return tool, found


def plan_install(
    tool: str,
    profiles: Iterable[Profile],
    environ: Mapping[str, str],
    keep: Container[str] = (),
    kept: Iterable[str] = (),
) -> Planned:
    """Plan to put our part in, or to bring it up to date; `keep` is `[helpers] keep`.

    `kept` has the URLs of the credentials that are kept for the tool: it must ask us for them.
    """
    tool, setup = find_setup(tool)
    script = find_script(setup.script)
    part = Part(tool, tuple(profiles), script, environ, keep, tuple(kept))
    if not part.profiles and not part.kept:
        raise UsageError("there is no profile to set up", hint="run 'brokerctl profile add NAME'")
    changes = []
    for place in _places(setup, environ):
        path = place.path
        if os.path.exists(path) and not os.path.isfile(path):  # a variable may name /dev/null
            raise UsageError(f"{path} is not a file", hint="unset the variable that names it")
        before = read_text(path)
        had = before is not None and _take(setup, place, before) is not None
        after = _put(setup, place, before or "", part)
        changes.append(FileChange(path, before, after, (had, True), place))
    return Planned(tool, tuple(changes), setup.advice(part))


def plan_uninstall(tool: str, environ: Mapping[str, str]) -> Planned:
    """Plan to take our part out; a file that we made, and that is empty then, is removed.

    A file of ours that another file still names stays, and a note says so.
    """
    tool, setup = find_setup(tool)
    changes = [_taken_out(setup, place) for place in _places(setup, environ)]
    texts = [(one.path, one.after or "") for one in changes if not one.place.is_own]
    texts += [(path, _readable(path)) for path in setup.read_also(environ)]
    left = [
        f"{path} names brokerctl in lines that are not its own"
        for path, text in texts
        if setup.names_us(text)
    ]
    for at, change in enumerate(changes):
        if change.place.is_own and change.before and change.after == change.before:
            left += [f"{change.path} was changed by hand, and stays"] * change.has_ours[0]
        users = [path for path, text in texts if setup.names(change.place, text)]
        if change.place.is_own and change.before is not None and users:
            left += [f"{one} still names {change.path}, which stays" for one in users]
            changes[at] = change._replace(after=change.before)
    return Planned(tool, tuple(changes), warning=setup.farewell(environ), left=tuple(left))


def _places(setup: Setup, environ: Mapping[str, str]) -> list[SetupFile]:
    """Return the files of a set-up, with what shows that our part is in one without our marks."""
    # A symbolic link, as dotfiles often are, must stay one.
    found = [one._replace(path=os.path.realpath(one.path)) for one in setup.places(environ)]
    is_named = any(
        setup.take(one, read_text(one.path) or "") is not None for one in found if one.is_own
    )
    return [one._replace(is_named=is_named, original=_readable(one.path + BACKUP)) for one in found]


def _readable(path: str) -> str:
    """Return the text of a file that is only read; "" if it can't be read."""
    try:
        return read_text(path) or ""
    except UsageError:
        return ""


def _put(setup: Setup, place: SetupFile, text: str, part: Part) -> str:
    """Put our part in with the text's own line ends: an editor may have made all CRLF."""
    if place.is_own or not _is_crlf(text):
        return setup.put(place, text, part)
    return setup.put(place, text.replace("\r\n", "\n"), part).replace("\n", "\r\n")


def _take(setup: Setup, place: SetupFile, text: str) -> str | None:
    """Take our part out, with either kind of line end."""
    if not _is_crlf(text):
        return setup.take(place, text)
    taken = setup.take(place, text.replace("\r\n", "\n"))
    return None if taken is None else taken.replace("\n", "\r\n")


def _is_crlf(text: str) -> bool:
    return "\n" in text and text.count("\n") == text.count("\r\n")


def _taken_out(setup: Setup, place: SetupFile) -> FileChange:
    path, before = place.path, read_text(place.path)
    after = None if before is None else _take(setup, place, before)
    if after is None:
        return FileChange(path, before, before, (False, False), place)
    is_ours = not after and not os.path.exists(path + BACKUP)
    return FileChange(path, before, None if is_ours else after, (True, False), place)


class Installed(NamedTuple):
    """The state of one tool: its file, whether our part is in it, what is wrong, and the hint."""

    path: str
    is_in: bool
    fault: str | None = None
    hint: str | None = None
    copies: tuple[str, ...] = ()  # of its files: by a set-up that is gone, or by a killed run


def find_installed(tool: str, environ: Mapping[str, str]) -> Installed:
    """Return whether our part is in the tool's files, and whether their program can be run."""
    _, setup = find_setup(tool)
    path = os.path.realpath(setup.places(environ)[0].path)
    again = f"run 'brokerctl helper install {shell_word(tool)}'"
    try:
        places = _places(setup, environ)
        texts = [(place, read_text(place.path)) for place in places]
        missing = [one for one, text in texts if text is None or _take(setup, one, text) is None]
    except UsageError as error:
        return Installed(path, is_in=True, fault=error.message, hint=error.hint or again)
    copies = [copy for one in places for copy in find_leftovers(one.path)]
    left = next(filter(_is_left, (one.path + one.lock for one in places if one.lock)), None)
    if left:
        fault = f"{left} was left by a brokerctl that was killed, and stops the tool"
        hint: str | None = f"run 'rm {shell_word(left)}'"
    elif len(missing) == len(places):
        copies += [one.path + BACKUP for one in places if os.path.exists(one.path + BACKUP)]
        return Installed(path, is_in=False, copies=tuple(copies))
    elif missing:
        is_gone = not os.path.exists(missing[0].path)
        why = "is not there any more" if is_gone else "has no part of it, and another file has"
        fault = f"{missing[0].path} {why}"
        hint = f"{again}, or 'brokerctl helper uninstall {shell_word(tool)}'"
    else:
        found, hint = _fault(setup.script, [text or "" for _, text in texts], environ)
        return Installed(path, is_in=True, fault=found, hint=hint or again, copies=tuple(copies))
    return Installed(path, is_in=True, fault=fault, hint=hint, copies=tuple(copies))


def _is_left(lock: str) -> bool:
    """Return whether a killed run of ours left a tool's lock file: our folder lock is free."""
    if not is_left_lock(lock):
        return False
    try:
        with locked_folder(os.path.dirname(lock), 0):
            return is_left_lock(lock)
    except (OSError, LockTimeoutError):
        return False


def _fault(
    script: str, texts: list[str], environ: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """Return why the program that a tool is told to run can't be run, and a hint if not `install`.

    A bare name is looked for in PATH.
    """
    own = os.path.join(os.path.dirname(sys.executable), script)
    if not os.access(own, os.X_OK):
        return f"{own} is not there", "install brokerctl again"
    if any(own in text for text in texts):
        return None, None
    if any(f"/{script}" in text for text in texts):
        return "it runs the brokerctl of another installation", None
    # A tool whose script is `brokerctl` runs none, or has its path in another file.
    if script == "brokerctl" or shutil.which(script, path=environ.get("PATH", os.defpath)):
        return None, None
    return f"{script} is not in PATH", f"link {own} into a folder of PATH"


def find_script(name: str) -> str:
    """Return the path of one of our scripts, which stands next to our Python interpreter."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    if not os.access(path, os.X_OK):
        raise UsageError(f"{path} is not there", hint="install brokerctl again")
    return path
