"""cargo's own configuration: brokerctl as the provider that is asked before cargo's own.

cargo asks its providers from the last to the first, and goes on if an index is not ours.
"""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

from brokerctl.errors import UsageError
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.edit.blocks import (
    Form,
    has_block,
    put_in_sections,
    take_block,
    without_block,
)
from brokerctl.helpers.edit.toml_hcl import parse_toml, read_toml
from brokerctl.helpers.setups import UsualSetup, home_path
from brokerctl.jsonlite import quote
from brokerctl.platform.user_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_NAME = "cargo"
_TABLE, _KEY = "registry", "global-credential-providers"
_ALIASES, _ALIAS = "credential-alias", "brokerctl"
_PROGRAM = r'".*cargo-credential-brokerctl"'
_OURS = re.compile(
    rf'{_KEY} = \["cargo:token", ("{_ALIAS}"|{_PROGRAM})\]|{_ALIAS} = \[{_PROGRAM}\]'
)
_HEADERS = {f"[{_TABLE}]", f"[{_ALIASES}]"}
_FORM = Form(
    lambda rows, at: _OURS.fullmatch(rows[at]) is not None,
    lambda row: row in _HEADERS,
)


class CargoSetup(UsualSetup):
    """`config.toml` in CARGO_HOME, or the older `config` if only that exists."""

    script = "cargo-credential-brokerctl"

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the user's file."""
        folder = os.path.abspath(environ.get("CARGO_HOME") or home_path(environ, ".cargo"))
        older = os.path.join(folder, "config")
        path = os.path.join(folder, "config.toml")
        return [SetupFile(older if os.path.isfile(older) and not os.path.exists(path) else path)]

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Name our program in the existing table, or in a new one at the end."""
        part.check_hosts()
        base = without_block(text, _NAME, _FORM)
        before = parse_toml(place.path, base)
        _refuse_other(place.path, before)
        wanted, sections = _meant(before, part.script)
        for candidate in put_in_sections(base, _NAME, sections):
            if read_toml(candidate) == wanted:
                is_same = has_block(text, _NAME) and read_toml(text) == wanted
                return text if is_same else candidate
        line = sections[f"[{_TABLE}]"][0]
        raise UsageError(f"can't change [{_TABLE}] of {place.path}", hint=f"write '{line}' into it")

    def take(self, place: SetupFile, text: str) -> str | None:
        """Take our lines out."""
        taken = take_block(text, _NAME, _FORM)
        before, after = read_toml(text), None if taken is None else read_toml(taken)
        if before is not None and taken is not None and _others(before) != _others(after):
            raise UsageError(f"can't take brokerctl out of {place.path}", hint="do it by hand")
        return taken

    def advice(self, part: Part) -> str | None:
        """Name the token that cargo takes before it asks a provider."""
        path = self.places(part.environ)[0].path
        try:
            registries = tomllib.loads(read_regular(path).decode()).get("registries", {})
        except (OSError, ValueError):
            return None
        own = sorted(
            name
            for name, registry in registries.items()
            if isinstance(registry, dict) and "credential-provider" in registry
        )
        if not own:
            return None
        return f"{path}: {', '.join(own)} has a provider of its own, and we are not asked"


def _refuse_other(path: str, found: dict[str, Any]) -> None:
    table = found.get(_TABLE, {})
    if not isinstance(table, dict) or _KEY in table:
        raise UsageError(f"{path} has '{_KEY}' already", hint=f"take that '{_KEY}' out first")
    if _ALIASES in found and _ALIAS in found[_ALIASES]:
        raise UsageError(f"{path} has an alias '{_ALIAS}' already", hint="take it out first")


def _others(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what a file says without our keys, and without tables that hold only these."""
    if found is None:
        return None
    ours = {_TABLE: _KEY, _ALIASES: _ALIAS}
    left = {name: value for name, value in found.items() if name not in ours}
    for name, key in ours.items():
        table = {one: value for one, value in found.get(name, {}).items() if one != key}
        if table:
            left[name] = table
    return left


def _meant(before: dict[str, Any], script: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return what the file must say afterwards, and our lines by the header above them."""
    program = script if _is_one_word(script) else _ALIAS
    providers = ["cargo:token", program]
    wanted = {**before, _TABLE: {**before.get(_TABLE, {}), _KEY: providers}}
    sections: dict[str, list[str]] = {}
    if program == _ALIAS:  # cargo would split a path with spaces
        wanted[_ALIASES] = {**before.get(_ALIASES, {}), _ALIAS: [script]}
        sections[f"[{_ALIASES}]"] = [f"{_ALIAS} = [{quote(script)}]"]
    sections[f"[{_TABLE}]"] = [f"{_KEY} = [{', '.join(map(quote, providers))}]"]
    return wanted, sections


def _is_one_word(path: str) -> bool:
    return path.split() == [path]
