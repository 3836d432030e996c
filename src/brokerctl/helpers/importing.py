"""Moves what other tools keep in plain text into our store: kept first, and only then cut out.

A crash in between leaves a credential in both places; none is ever in neither.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.config.hosts import find_profiles
from brokerctl.config.paths import home_folder
from brokerctl.config.replacing import (
    locked_as_its_tool_does,
    read_regular,
    replace_file,
    sync_folder,
)
from brokerctl.errors import UsageError
from brokerctl.helpers.keeping import find_here, keep, place_of
from brokerctl.helpers.plain import Found, cut_out, read_git_credentials, read_netrc

if TYPE_CHECKING:
    from brokerctl.helpers import Wanted
    from brokerctl.wire import House

SOURCES = ("git", "netrc")
_KEPT_FOR = "git"  # what both are for
_LOCK = ".lock"  # git's own (git-credential-store(1)): nobody else writes meanwhile


class Source(NamedTuple):
    """One file: its bytes, what can be kept of it, and what is left with the reason."""

    path: str
    data: bytes
    moving: list[Found]
    left: list[Found]


def plan_import(house: House, tool: str) -> list[Source]:
    """Read the files of a tool; nothing is changed. UsageError where nothing would be kept."""
    if tool not in SOURCES:
        names = " or ".join(SOURCES)
        raise UsageError(f"'helper import {tool}' is not in this version", hint=f"say {names}")
    if _KEPT_FOR not in house.plan.keep:
        raise UsageError(
            f"nothing is kept for {_KEPT_FOR}",
            hint=f"write 'keep = [\"{_KEPT_FOR}\"]' below '[helpers]' in config.toml",
        )
    read = read_netrc if tool == "netrc" else read_git_credentials
    sources: list[Source] = []
    for path in dict.fromkeys(map(os.path.realpath, _paths(house, tool))):
        data = _read(path)
        if data:
            before = [one for source in sources for one in source.moving]
            sources.append(_sorted(house, path, data, read(data), before))
    return sources


def _paths(house: House, tool: str) -> list[str]:
    home = home_folder(house.environ)
    if home is None:
        raise UsageError("HOME is not set, so nothing is found")
    if tool == "netrc":
        return [house.environ.get("NETRC") or os.path.join(home, ".netrc")]
    base = house.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return [os.path.join(home, ".git-credentials"), os.path.join(base, "git", "credentials")]


def _sorted(
    house: House, path: str, data: bytes, found: list[Found], before: list[Found]
) -> Source:
    moving: list[Found] = []
    left: list[Found] = []
    for one in found:
        why = one.why or _why_not(house, one, [*before, *moving])
        if why:
            left.append(one._replace(why=why))
        else:
            moving.append(one)
    return Source(path, data, moving, left)


def _why_not(house: House, one: Found, before: list[Found]) -> str:
    """Return why a credential can't be moved: what is there already is never lost for it."""
    wanted = one.wanted
    if wanted is None:
        return "it is nothing to keep"
    try:
        here = find_here(house, _KEPT_FOR, wanted)
    except UsageError as error:
        return error.message
    if here is not None and here.secret != wanted.offered:
        return "another password is kept for it"
    try:
        if find_profiles(wanted.url or "", house.plan.profiles.values(), wanted.username):
            return "its host is a profile's"
    except UsageError:
        pass  # plain http: no profile's
    # The first line of the first file is what git uses.
    others = [other for earlier in before if (other := earlier.wanted) and _is_alike(other, wanted)]
    if others and others[0].offered != wanted.offered:
        return "another password stands before it"
    return ""


def _is_alike(one: Wanted, other: Wanted) -> bool:
    """Say whether two would be kept in one place, however it is spelled."""
    return one.username == other.username and place_of(one) == place_of(other)


def carry_out(house: House, source: Source, *, is_cut: bool) -> None:
    """Keep what can be kept of a file, durably, and then cut it out."""
    for one in reversed(source.moving):  # the newest is answered first, as the first line was
        if one.wanted is None or not keep(house, _KEPT_FOR, one.wanted):
            raise UsageError(f"{one.shown} can't be kept", hint="nothing was removed")
    if not is_cut or not source.moving:
        return
    try:
        with locked_as_its_tool_does(source.path, _LOCK):
            if _read(source.path) != source.data:
                raise UsageError(
                    f"{source.path} has changed meanwhile; what was kept stays kept",
                    hint="run it again",
                )
            _replace(source.path, cut_out(source.data, source.moving))
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(
            f"can't change {source.path}: {reason}", hint="all of it is kept, nothing was removed"
        ) from error


def _replace(path: str, data: bytes) -> None:
    if data.strip():
        replace_file(path, data)
    else:
        os.unlink(path)
        sync_folder(os.path.dirname(path))


def _read(path: str) -> bytes | None:
    try:
        return read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"can't read {path}: {reason}") from error
