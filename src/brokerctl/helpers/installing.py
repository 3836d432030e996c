"""Writes a helper into its tool's own configuration, and takes it out again.

The change is made as a plan first, so that it can be shown; nothing but our own part of the file
is touched, and the file as it was lies beside it until the part is taken out.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

from brokerctl.config.replacing import locked_folder, replace_file, sync_folder
from brokerctl.errors import UsageError, not_in_this_version
from brokerctl.helpers.blocks import has_block, put_block, take_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerctl.model import Profile

SETUPS = {
    "git": "brokerctl.helpers.setup_git:GitSetup",
}
BACKUP = ".before-brokerctl"
_NEW_MODE = 0o644  # of a file that is made, as the tool itself would make it


class Setup(Protocol):
    """Where one tool's configuration is, and what stands in it for brokerctl."""

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file that is to be changed, whether it is there or not."""

    def lines(self, profiles: Iterable[Profile], script: str) -> list[str]:
        """Return our part; UsageError if the profiles have nothing for this tool."""


class Planned(NamedTuple):
    """One change of one file: its text before (None: there is none) and after (None: remove)."""

    tool: str
    path: str
    before: str | None
    after: str | None

    @property
    def is_change(self) -> bool:
        """Say whether anything would be written."""
        return self.before != self.after


def find_setup(tool: str) -> Setup:
    """Return how a tool is set up; one whose file does not exist yet is refused."""
    if tool not in SETUPS:
        raise not_in_this_version(f"helper '{tool}'")
    module, _, name = SETUPS[tool].partition(":")
    found: Setup = getattr(__import__(module, fromlist=(name,)), name)()
    return found


def plan_install(tool: str, profiles: Iterable[Profile], environ: Mapping[str, str]) -> Planned:
    """Plan to put our part in, or to bring it up to date."""
    setup = find_setup(tool)
    path = os.path.realpath(setup.path(environ))  # a link, as dotfiles often are, stays one
    before = _read(path)
    after = put_block(before or "", tool, setup.lines(profiles, find_script(tool)))
    return Planned(tool, path, before, after)


def plan_uninstall(tool: str, environ: Mapping[str, str]) -> Planned:
    """Plan to take our part out; a file that is empty then, and was made by us, goes."""
    path = os.path.realpath(find_setup(tool).path(environ))
    before = _read(path)
    after = None if before is None else take_block(before, tool)
    if after is None:
        return Planned(tool, path, before, before)
    is_ours = not after and not os.path.exists(path + BACKUP)
    return Planned(tool, path, before, None if is_ours else after)


def find_installed(tool: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Return the tool's file, and whether our part is in it."""
    path = os.path.realpath(find_setup(tool).path(environ))
    return path, has_block(_read(path) or "", tool)


def carry_out(planned: Planned) -> None:
    """Write what was planned; UsageError if the file changed meanwhile or can't be written."""
    path, folder = planned.path, os.path.dirname(planned.path)
    try:
        os.makedirs(folder, exist_ok=True)
        with locked_folder(folder):
            if _read(path) != planned.before:
                raise UsageError(f"{path} has changed meanwhile", hint="try again")
            _write(planned)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"can't change {path}: {reason}") from error


def _write(planned: Planned) -> None:
    path, backup = planned.path, planned.path + BACKUP
    if planned.after is None:
        os.unlink(path)
        sync_folder(os.path.dirname(path))
        return
    is_install = has_block(planned.after, planned.tool)
    if is_install and planned.before is not None and not has_block(planned.before, planned.tool):
        replace_file(backup, _encoded(planned.before), os.stat(path).st_mode & 0o777)
    replace_file(path, _encoded(planned.after), _NEW_MODE)
    if not is_install and _read(backup) == planned.after:
        os.unlink(backup)  # the file is as it was: nothing is to be kept


def find_script(tool: str) -> str:
    """Return the path of a helper's own script, beside the interpreter that runs us."""
    path = os.path.join(os.path.dirname(sys.executable), f"{tool}-credential-brokerctl")
    if not os.access(path, os.X_OK):
        raise UsageError(f"{path} is not there", hint="install brokerctl again")
    return path


def _read(path: str) -> str | None:
    """Return a file's text, whatever its bytes are; UsageError if it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"can't read {path}: {reason}") from error


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
