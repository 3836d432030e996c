"""pnpm's own configuration: a line for each registry, and the script that the lines name."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError, shell_word
from brokerctl.helpers.edit import SCRIPT_MODE, SetupFile
from brokerctl.helpers.edit.blocks import has_block, put_block, take_block
from brokerctl.helpers.edit.scripts import put_script, take_script
from brokerctl.helpers.setups import BlockSetup, home_path, own_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

# Needs no quotes in `.npmrc`. Security: what follows a `=` in a path could name a program.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/@+,[]")
_OURS = re.compile(r"//\S+/:tokenHelper=\S+/brokerctl/helpers/pnpm-token")
_VARIABLES = ("npm_config_userconfig", "NPM_CONFIG_USERCONFIG")


class PnpmSetup(BlockSetup):
    """The user's `.npmrc`: pnpm accepts no helper in that of a project."""

    name = "pnpm"
    script = "brokerctl"

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the configuration and the script."""
        return [
            SetupFile(self.path(environ)),
            SetupFile(_script_path(environ), SCRIPT_MODE, is_own=True),
        ]

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the user's file."""
        given = next((environ[name] for name in _VARIABLES if environ.get(name)), None)
        return os.path.abspath(given) if given else home_path(environ, ".npmrc")

    def read_also(self, environ: Mapping[str, str]) -> list[str]:
        """Return the file that `pnpm config set` writes, and `~/.npmrc`, if not ours."""
        base = environ.get("XDG_CONFIG_HOME") or home_path(environ, ".config")
        found = [os.path.join(base, "pnpm", "rc"), home_path(environ, ".npmrc")]
        return [path for path in found if path != self.path(environ)]

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Put the lines in, or make the script, according to the file."""
        if place.mode == SCRIPT_MODE:
            words = [part.script, "helper", "pnpm", "--profile", part.one_profile().name]
            return put_script(place.path, text, self.name, words)
        if any(line.lstrip().startswith("[") for line in text.split("\n")):
            raise UsageError(
                f"{place.path} has sections, and what comes after one belongs to it",
                hint="add the lines by hand",
            )
        lines = self.lines(part)
        rows = text.split("\n")
        if not has_block(text, self.name) and _unmarked(rows) == sorted(lines):
            return text
        rest = "\n".join(row for row in rows if not _is_unmarked(row))
        return put_block(text if has_block(text, self.name) else rest, self.name, lines, self.form)

    @staticmethod
    def is_ours(rows: list[str], at: int) -> bool:
        """Return whether a row is one of our lines."""
        return _OURS.fullmatch(rows[at]) is not None

    def lines(self, part: Part) -> list[str]:
        """Return a line for each registry; pnpm compares its URLs without their scheme."""
        profile = part.one_profile()
        hosts = [host.split("://", 1)[1] for host in profile.hosts if "*" not in host]
        if not hosts:
            raise UsageError(
                f"'{profile.name}' names no exact hosts, so pnpm has no registry to ask for",
                hint=f"run 'brokerctl profile edit {shell_word(profile.name)} --set hosts=https://HOST'",
            )
        odd = next((host for host in hosts if not _PLAIN.issuperset(host)), None)
        if odd is not None:
            raise UsageError(
                f"pnpm has no name for {odd}: its path holds what is no plain character",
                hint="give the registry a profile with another host",
            )
        path = _script_path(part.environ)
        if shlex.quote(path) != path or "%" in path:
            raise UsageError(
                f"pnpm can't run {path}: it takes no spaces and no quotes",
                hint="set XDG_DATA_HOME to a folder with a plain name",
            )
        return [f"//{host}/:tokenHelper={path}" for host in hosts]

    def take(self, place: SetupFile, text: str) -> str | None:
        """Take out the lines or the script, according to the file."""
        if place.mode == SCRIPT_MODE:
            return take_script(text, self.name)
        taken = take_block(text, self.name, self.form)
        rows = (text if taken is None else taken).split("\n")
        if not _unmarked(rows):
            return taken
        return "\n".join(row for row in rows if not _is_unmarked(row))


def _is_unmarked(row: str) -> bool:
    """Return whether a row is ours by its value: npm drops comments, and so our marks."""
    return _OURS.fullmatch(row.strip()) is not None


def _unmarked(rows: list[str]) -> list[str]:
    return sorted(filter(_is_unmarked, rows))


def _script_path(environ: Mapping[str, str]) -> str:
    return own_path(environ, "pnpm-token")
