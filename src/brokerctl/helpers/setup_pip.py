"""pip's own configuration: the provider `subprocess`, and the command that it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl.helpers.blocks import take_block
from brokerctl.helpers.ini import put_keys
from brokerctl.helpers.keyring_command import KeyringCommandSetup
from brokerctl.helpers.setups import home_path

if TYPE_CHECKING:
    from collections.abc import Mapping


class PipSetup(KeyringCommandSetup):
    """`~/.config/pip/pip.conf`, which `pip config --user set` would write."""

    name = "pip"

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the user's file; PIP_CONFIG_FILE is read instead of it."""
        given = environ.get("PIP_CONFIG_FILE")
        if given:
            return os.path.abspath(given)
        base = environ.get("XDG_CONFIG_HOME") or home_path(environ, ".config")
        return os.path.join(base, "pip", "pip.conf")

    def put_keys(self, path: str, text: str) -> str:
        """Name the provider in [global]."""
        return put_keys(path, text, self.name, "global", {"keyring-provider": "subprocess"})

    def take_keys(self, text: str) -> str | None:
        """Take it out."""
        return take_block(text, self.name)
