"""The configuration of Vault's command line: one line in HCL."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.helpers.edit.blocks import put_block, without_block
from brokerctl.helpers.edit.toml_hcl import refuse_other
from brokerctl.helpers.setups import BlockSetup, home_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.edit import SetupFile
    from brokerctl.helpers.setups import Part

_KEY = "token_helper"


class VaultSetup(BlockSetup):
    """`~/.vault`, or what VAULT_CONFIG_PATH names."""

    name = "vault"
    script = "brokerctl-vault"

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file."""
        given = environ.get("VAULT_CONFIG_PATH") or "~/.vault"
        if given.startswith("~/"):
            return home_path(environ, given[2:])
        return os.path.abspath(given)

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Put our line in; UsageError if the file has the key already."""
        refuse_other(place.path, without_block(text, self.name, self.form), _KEY)
        return put_block(text, self.name, self.lines(part), self.form)

    @staticmethod
    def is_ours(rows: list[str], at: int) -> bool:
        """Return whether a row is our line."""
        return rows[at].startswith(f'{_KEY} = "') and rows[at].endswith('/brokerctl-vault"')

    def lines(self, part: Part) -> list[str]:
        """Return the line; a shell would split the path, so it may not need quotes."""
        part.check_hosts()
        if shlex.quote(part.script) != part.script:
            raise UsageError(
                f"vault can't run {part.script}: it takes no spaces and no quotes",
                hint="install brokerctl in a folder with a plain name",
            )
        return [f'{_KEY} = "{part.script}"']
