"""git's own configuration: a section for each host, with brokerctl as its only helper."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from brokerctl.config.hosts import parse_url
from brokerctl.helpers.setups import BlockSetup, home_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_ANY = re.compile(r"helper\s*=.*brokerctl.*", re.IGNORECASE)
_PATH = "useHttpPath = true"


class GitSetup(BlockSetup):
    """`~/.gitconfig`, or wherever git itself would write (git-config(1), FILES)."""

    name = "git"
    script = "git-credential-brokerctl"
    lock = ".lock"

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the global file that git reads last."""
        given = environ.get("GIT_CONFIG_GLOBAL")
        if given:
            return os.path.abspath(given)
        own = home_path(environ, ".gitconfig")
        base = environ.get("XDG_CONFIG_HOME") or home_path(environ, ".config")
        other = os.path.join(base, "git", "config")
        return other if os.path.exists(other) and not os.path.exists(own) else own

    def lines(self, part: Part) -> list[str]:
        """Return the sections: an empty helper removes those that git would ask first."""
        part.check_hosts()
        hosts = sorted({host for profile in part.profiles for host in profile.hosts})
        helper = _quoted(git_value(part.script))
        lines = []
        for host in hosts:
            section = host.replace('"', '\\"')  # security: else it could set a helper
            lines += [f'[credential "{section}"]', "\thelper =", f"\thelper = {helper}"]
            if parse_url(host.replace("*.", "any.", 1)).path:
                lines.append(f"\t{_PATH}")  # else git does not send the path
        return lines

    @staticmethod
    def is_ours(rows: list[str], at: int) -> bool:
        """Return whether a row is our helper, the empty one before it, or `useHttpPath` after it.

        `gh auth setup-git` also writes an empty helper before its own: that line is not ours.
        """
        if rows[at] == "helper =":
            return _is_helper(_next_helper(rows[at + 1 :]))
        if rows[at] == _PATH:
            return _has_path(rows[:at])
        return _is_helper(rows[at])

    def names_us(self, text: str) -> bool:
        """Look for our helper, also by its short name."""
        return any(map(_ANY.fullmatch, map(str.strip, text.split("\n"))))

    @staticmethod
    def is_header(row: str) -> bool:
        """Return whether a row is a section's header as we write it."""
        return row.startswith('[credential "') and row.endswith('"]')


def _has_path(above: list[str]) -> bool:
    """Return whether this section is ours and for a path; at a host the line is somebody else's."""
    is_ours = False
    for row in reversed(above):
        if row[:1] == "[":
            return is_ours and "/" in row.partition("://")[2]
        if row == _PATH and not is_ours:
            return False
        is_ours = is_ours or _is_helper(row)
    return False


def _next_helper(rows: list[str]) -> str:
    """Return the next row that names a helper, or the next header; "" at the end."""
    for row in rows:
        if row.startswith(("[", "helper")):
            return row
    return ""


def _is_helper(row: str) -> bool:
    return row.startswith("helper = ") and row.rstrip("\"'").endswith("/git-credential-brokerctl")


def git_value(script: str) -> str:
    """Return `credential.helper` for a program: its path, or a shell command with a quoted path."""
    return script if shlex.quote(script) == script else f"!{shlex.quote(script)}"


def _quoted(value: str) -> str:
    """Return a value as git's configuration has it (git-config(1), SYNTAX)."""
    if all(char.isalnum() or char in "/._-+" for char in value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
