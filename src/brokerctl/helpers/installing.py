"""Writes a helper into its tool's own configuration, and takes it out again.

The change is made as a plan first, so that it can be shown; nothing but our own part of a file
is touched, and the file as it was lies beside it until the part is taken out.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.config.replacing import (
    locked_as_its_tool_does,
    locked_folder,
    read_regular,
    replace_file,
    sync_folder,
)
from brokerctl.errors import UsageError, shell_word
from brokerctl.helpers.setups import ALIASES, SETUPS, Part

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from brokerctl.helpers.setups import Place, Setup
    from brokerctl.model import Profile

BACKUP = ".before-brokerctl"


class Change(NamedTuple):
    """One change of one file: its text before (None: there is none) and after (None: remove)."""

    path: str
    before: str | None
    after: str | None
    has_ours: tuple[bool, bool]  # whether our part is in it before and after
    place: Place

    @property
    def is_change(self) -> bool:
        """Say whether anything would be written."""
        return self.before != self.after


class Planned(NamedTuple):
    """What is to be done for one tool; the first file is the tool's own configuration."""

    tool: str
    changes: tuple[Change, ...]
    advice: str | None = None  # what is left to the person

    @property
    def path(self) -> str:
        """Return the tool's own configuration file."""
        return self.changes[0].path

    @property
    def is_change(self) -> bool:
        """Say whether anything would be written."""
        return any(change.is_change for change in self.changes)


def find_setup(tool: str) -> tuple[str, Setup]:
    """Return a tool's own name and how it is set up; an unknown one is refused."""
    tool = ALIASES.get(tool, tool)
    if tool not in SETUPS:
        raise UsageError(
            f"helper '{tool}' is not in this version", hint="run 'brokerctl helper list' for all"
        )
    module, _, name = SETUPS[tool].partition(":")
    found: Setup = getattr(__import__(module, fromlist=(name,)), name)()
    return tool, found


def plan_install(
    tool: str,
    profiles: Iterable[Profile],
    environ: Mapping[str, str],
    keep: Container[str] = (),
) -> Planned:
    """Plan to put our part in, or to bring it up to date; `keep` is that of the policy."""
    tool, setup = find_setup(tool)
    part = Part(tool, tuple(profiles), find_script(setup.script), environ, keep)
    if not part.profiles:
        raise UsageError("there is no profile to set up", hint="run 'brokerctl profile add NAME'")
    changes = []
    for place in _places(setup, environ):
        path = place.path
        if os.path.exists(path) and not os.path.isfile(path):  # a variable says /dev/null
            raise UsageError(f"{path} is not a file", hint="unset the variable that names it")
        before = _read(path)
        had = before is not None and _take(setup, place, before) is not None
        after = _put(setup, place, before or "", part)
        changes.append(Change(path, before, after, (had, True), place))
    return Planned(tool, tuple(changes), setup.advice(part))


def plan_uninstall(tool: str, environ: Mapping[str, str]) -> Planned:
    """Plan to take our part out; a file that is empty then, and was made by us, goes."""
    tool, setup = find_setup(tool)
    return Planned(tool, tuple(_taken_out(setup, place) for place in _places(setup, environ)))


def _places(setup: Setup, environ: Mapping[str, str]) -> list[Place]:
    """Return the files of a set-up, and what tells of our part where a tool drops comments."""
    # A link, as dotfiles often are, stays one.
    found = [one._replace(path=os.path.realpath(one.path)) for one in setup.places(environ)]
    is_named = any(
        setup.take(one, _read(one.path) or "") is not None for one in found if one.is_own
    )
    return [
        one._replace(is_named=is_named, original=_read(one.path + BACKUP) or "") for one in found
    ]


def _put(setup: Setup, place: Place, text: str, part: Part) -> str:
    """Put our part in as the text ends its lines: some editors change all of a file's."""
    if place.is_own or not _is_crlf(text):
        return setup.put(place, text, part)
    return setup.put(place, text.replace("\r\n", "\n"), part).replace("\n", "\r\n")


def _take(setup: Setup, place: Place, text: str) -> str | None:
    """Take our part out, whichever way the text ends its lines."""
    if not _is_crlf(text):
        return setup.take(place, text)
    taken = setup.take(place, text.replace("\r\n", "\n"))
    return None if taken is None else taken.replace("\n", "\r\n")


def _is_crlf(text: str) -> bool:
    return "\n" in text and text.count("\n") == text.count("\r\n")


def _taken_out(setup: Setup, place: Place) -> Change:
    path, before = place.path, _read(place.path)
    after = None if before is None else _take(setup, place, before)
    if after is None:
        return Change(path, before, before, (False, False), place)
    is_ours = not after and not os.path.exists(path + BACKUP)
    return Change(path, before, None if is_ours else after, (True, False), place)


class Installed(NamedTuple):
    """How it stands with one tool: its file, whether our part is in it, what is wrong, a cure."""

    path: str
    is_in: bool
    fault: str | None = None
    hint: str | None = None


def find_installed(tool: str, environ: Mapping[str, str]) -> Installed:
    """Return whether our part is in the tool's files, and whether what they name can be run."""
    _, setup = find_setup(tool)
    path = os.path.realpath(setup.places(environ)[0].path)
    again = f"run 'brokerctl helper install {shell_word(tool)}'"
    try:
        places = _places(setup, environ)
        texts = [(place, _read(place.path)) for place in places]
        missing = [one for one, text in texts if text is None or _take(setup, one, text) is None]
    except UsageError as error:
        return Installed(path, is_in=True, fault=error.message, hint=error.hint or again)
    if len(missing) == len(places):
        return Installed(path, is_in=False)
    if missing:
        gone = f"{missing[0].path} is not there any more"
        return Installed(path, is_in=True, fault=gone, hint=again)
    fault, hint = _fault(setup.script, [text or "" for _, text in texts], environ)
    return Installed(path, is_in=True, fault=fault, hint=hint or again)


def _fault(
    script: str, texts: list[str], environ: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """Return why a program that a tool is told to run can't be, and what else than `install` helps.

    A bare name is sought in PATH.
    """
    own = os.path.join(os.path.dirname(sys.executable), script)
    if not os.access(own, os.X_OK):
        return f"{own} is not there", "install brokerctl again"
    if any(own in text for text in texts):
        return None, None
    if any(f"/{script}" in text for text in texts):
        return "it runs the brokerctl of another installation", None
    # Whose script is brokerctl itself runs no program of ours, or has its path in another file.
    if script == "brokerctl" or shutil.which(script, path=environ.get("PATH", os.defpath)):
        return None, None
    return f"{script} is not in PATH", f"link {own} into a folder of PATH"


def carry_out(planned: Planned) -> None:
    """Write what was planned; UsageError if a file changed meanwhile or can't be written."""
    for change in planned.changes:
        if not change.is_change:
            continue
        path, folder = change.path, os.path.dirname(change.path)
        try:
            os.makedirs(folder, exist_ok=True)
            with locked_folder(folder), locked_as_its_tool_does(path, change.place.lock):
                if _read(path) != change.before:
                    raise UsageError(f"{path} has changed meanwhile", hint="try again")
                _write(change)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise UsageError(f"can't change {path}: {reason}") from error


def _write(change: Change) -> None:
    path, backup = change.path, change.path + BACKUP
    if change.after is None:
        os.unlink(path)
        sync_folder(os.path.dirname(path))
        return
    had, has = change.has_ours
    if has and not had and change.before is not None:
        replace_file(backup, _encoded(change.before), os.stat(path).st_mode & 0o700)
    replace_file(path, _encoded(change.after), change.place.mode)
    if not has and _read(backup) == change.after:
        os.unlink(backup)  # the file is as it was: nothing is to be kept


def find_script(name: str) -> str:
    """Return the path of one of our own scripts, beside the interpreter that runs us."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    if not os.access(path, os.X_OK):
        raise UsageError(f"{path} is not there", hint="install brokerctl again")
    return path


def _read(path: str) -> str | None:
    """Return a file's text, whatever its bytes are; UsageError if it can't be read."""
    try:
        return read_regular(path).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"can't read {path}: {reason}") from error


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
