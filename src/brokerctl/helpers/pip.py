"""pip's own configuration: the provider `subprocess`, and the command that it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl.helpers.edit.ini import Keys
from brokerctl.helpers.keyring.command import KeyringCommandSetup
from brokerctl.helpers.setups import home_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.edit import SetupFile

_KEYS = Keys("pip", "global", {"keyring-provider": "subprocess"})


class PipSetup(KeyringCommandSetup):
    """`~/.config/pip/pip.conf`, which `pip config --user set` would write."""

    name = "pip"

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file that PIP_CONFIG_FILE names, else the user's."""
        given = environ.get("PIP_CONFIG_FILE")
        if given:
            return os.path.abspath(given)
        base = environ.get("XDG_CONFIG_HOME") or home_path(environ, ".config")
        return os.path.join(base, "pip", "pip.conf")

    def put_keys(self, place: SetupFile, text: str) -> str:
        """Name the provider in [global]."""
        return _KEYS.put(place, text)

    def take_keys(self, place: SetupFile, text: str) -> str | None:
        """Take the provider out."""
        return _KEYS.take(place, text)
