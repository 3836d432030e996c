"""uv's own configuration: the provider `subprocess`, and the command that it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.helpers.edit.blocks import Form, has_block, put_block, take_block, without_block
from brokerctl.helpers.edit.toml_hcl import parse_toml, read_toml
from brokerctl.helpers.keyring.command import KeyringCommandSetup
from brokerctl.helpers.setups import home_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.edit import SetupFile

_KEY, _VALUE = "keyring-provider", "subprocess"
_LINE = f'{_KEY} = "{_VALUE}"'
_FORM = Form(lambda rows, at: rows[at] == _LINE)


class UvSetup(KeyringCommandSetup):
    """`~/.config/uv/uv.toml`, the user's file."""

    name = "uv"

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file that UV_CONFIG_FILE names, else the user's."""
        given = environ.get("UV_CONFIG_FILE")
        if given:
            return os.path.abspath(given)
        base = environ.get("XDG_CONFIG_HOME") or home_path(environ, ".config")
        return os.path.join(base, "uv", "uv.toml")

    def put_keys(self, place: SetupFile, text: str) -> str:
        """Name the provider in the first line: below a table's header it would be in that."""
        path, base = place.path, without_block(text, self.name, _FORM)
        found = parse_toml(path, base)
        given = found.get(_KEY)
        if given not in {None, _VALUE}:
            raise UsageError(f"{path} has another '{_KEY}'", hint=f"take that '{_KEY}' out first")
        lines = [] if given else [_LINE]
        after = put_block("", self.name, lines, _FORM) + base
        wanted = {**found, _KEY: _VALUE}
        if read_toml(after) != wanted:
            raise UsageError(f"can't change {path}", hint=f"write '{_LINE}' into it")
        is_same = has_block(text, self.name) and read_toml(text) == wanted
        return text if is_same else after

    def take_keys(self, place: SetupFile, text: str) -> str | None:  # noqa: ARG002 - marks stay here
        """Take the provider out."""
        return take_block(text, self.name, _FORM)
