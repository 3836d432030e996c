"""cargo's own configuration: brokerctl as the provider that is asked before cargo's own.

Providers are asked from the last to the first, and those of no profile's hosts are passed on.
"""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any

from brokerctl.config.replacing import read_regular
from brokerctl.errors import UsageError
from brokerctl.helpers.blocks import has_block, put_block, take_block
from brokerctl.helpers.setups import Place, home_path
from brokerctl.helpers.tomltext import parse_toml
from brokerctl.jsonlite import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_NAME = "cargo"
_TABLE, _KEY = "registry", "global-credential-providers"
_ALIASES, _ALIAS = "credential-alias", "brokerctl"


class CargoSetup:
    """`config.toml` in CARGO_HOME, or the older `config` where only that is there."""

    script = "cargo-credential-brokerctl"

    def places(self, environ: Mapping[str, str]) -> list[Place]:
        """Return the user's file."""
        folder = os.path.abspath(environ.get("CARGO_HOME") or home_path(environ, ".cargo"))
        older = os.path.join(folder, "config")
        path = os.path.join(folder, "config.toml")
        return [Place(older if os.path.isfile(older) and not os.path.exists(path) else path)]

    def put(self, place: Place, text: str, part: Part) -> str:
        """Name our program in the table that is there, or in one at the end."""
        part.check_hosts()
        base = take_block(text, _NAME)
        base = text if base is None else base
        before = parse_toml(place.path, base)
        _refuse_other(place.path, before)
        program = [part.script] if _is_one_word(part.script) else [_ALIAS]
        wanted = {**before, _TABLE: {**before.get(_TABLE, {}), _KEY: ["cargo:token", *program]}}
        tables = [f"[{_ALIASES}]", f"{_ALIAS} = [{quote(part.script)}]"]
        if program == [_ALIAS]:  # cargo would take a name with spaces apart
            wanted[_ALIASES] = {_ALIAS: [part.script]}
        line = f"{_KEY} = [{', '.join(quote(one) for one in wanted[_TABLE][_KEY])}]"
        more = tables if program == [_ALIAS] else []
        for candidate in _candidates(base, line, more, has_table=_TABLE in before):
            if parse_toml(place.path, candidate) == wanted:
                is_same = has_block(text, _NAME) and parse_toml(place.path, text) == wanted
                return text if is_same else candidate
        raise UsageError(f"can't change [{_TABLE}] of {place.path}", hint=f"write '{line}' into it")

    def take(self, place: Place, text: str) -> str | None:  # noqa: ARG002 - there is one place
        """Take our lines out."""
        return take_block(text, _NAME)

    def advice(self, part: Part) -> str | None:
        """Name what cargo believes before any provider is asked."""
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


def _candidates(base: str, line: str, more: list[str], *, has_table: bool) -> list[str]:
    """Return the texts to try: our line right after each name of the table, or a table of ours."""
    if not has_table:
        return [put_block(base, _NAME, [*more, f"[{_TABLE}]", line])]
    found, end = [], 0
    for row in base.split("\n"):
        end += len(row) + 1
        if row.split("#")[0].strip() == f"[{_TABLE}]" and not more:
            if end > len(base):
                found.append(put_block(base, _NAME, [line]))
            else:
                found.append(base[:end] + put_block("", _NAME, [line]) + base[end:])
    return found


def _is_one_word(path: str) -> bool:
    return path.split() == [path]
