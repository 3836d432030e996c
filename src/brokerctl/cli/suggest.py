"""Completion of the next word in a shell: profiles, scopes, sessions, events, formats, tools.

Security: a shell runs this at each press of TAB, so it opens no key, makes no file, asks no issuer
and prints no error. Words that a shell would have to quote are not offered: zsh evaluates them.
"""

from __future__ import annotations

import os
import string
from typing import TYPE_CHECKING

import typer

from brokerctl import jsonlite
from brokerctl.config import paths
from brokerctl.errors import BrokerError
from brokerctl.get import FORMATS
from brokerctl.platform.private_files import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerctl.model import Profile

_PLAIN = frozenset(string.ascii_letters + string.digits + "._-/=:@")
_LOG_BYTES = 256 * 1024  # the newest sessions and events are in the log's last part
_LOG = f"{paths.STATE_VERSION}/audit/log"


def profiles(incomplete: str) -> list[str]:
    """Offer the names of profiles."""
    return _offer(_profiles(), incomplete)


def pairs(incomplete: str) -> list[str]:
    """Offer NAME=PROFILE once NAME is written."""
    name, sign, start = incomplete.partition("=")
    return [f"{name}={profile}" for profile in _offer(_profiles(), start)] if sign else []


def scopes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the scopes of the profiles that are named so far, or of all."""
    found, given = _profiles(), ctx.params.get("profile")
    named: list[object] = list(given) if isinstance(given, list | tuple) else [given]
    named += ctx.args  # has an argument that stands before an unfinished option
    chosen = [one for one in found.values() if one.name in named] or list(found.values())
    return _offer({scope for profile in chosen for scope in profile.scopes}, incomplete)


def sessions(incomplete: str) -> list[str]:
    """Offer the sessions of the newest records."""
    records = _newest_records()
    named = [one for fields in records for one in (fields, fields.get("requester"))]
    found = {one.get("session") for one in named if isinstance(one, dict)}
    return _offer(found, incomplete)


def events(incomplete: str) -> list[str]:
    """Offer the events of the newest records."""
    return _offer({fields.get("event") for fields in _newest_records()}, incomplete)


def formats(incomplete: str) -> list[str]:
    """Offer the output formats of a token."""
    return _offer(FORMATS, incomplete)


def tools(incomplete: str) -> list[str]:
    """Offer the tools that can be set up."""
    from brokerctl.helpers.setups import SETUPS

    return _offer(SETUPS, incomplete)


def _offer(words: Iterable[object], incomplete: str) -> list[str]:
    plain = (word for word in words if isinstance(word, str) and word and _PLAIN.issuperset(word))
    return sorted(word for word in plain if word.startswith(incomplete))


def _profiles() -> Mapping[str, Profile]:
    from brokerctl.config import layers
    from brokerctl.config.compile import compile_layers

    try:
        found = layers.read_layers(os.environ, os.getcwd())
        return compile_layers(found, os.environ).profiles
    except (BrokerError, OSError):
        return {}  # an invalid configuration: the command itself reports it


def _newest_records() -> list[dict[str, object]]:
    try:
        folder = open_folder(paths.state_home(os.environ), create=False)
        if folder is None:
            return []
        fd = folder.system.open(_LOG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder.fd)
        try:
            start = max(0, os.fstat(fd).st_size - _LOG_BYTES)
            lines = os.pread(fd, _LOG_BYTES, start).splitlines()
        finally:
            os.close(fd)
    except (BrokerError, OSError):
        return []
    return [fields for line in lines if type(fields := _parse(line)) is dict]


def _parse(line: bytes) -> object:
    try:
        return jsonlite.loads(line)
    except ValueError:
        return None  # the first line was not read from its beginning, or is damaged
