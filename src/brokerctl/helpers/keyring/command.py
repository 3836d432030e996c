"""A command named `keyring` for tools that run one, in a separate folder for each tool.

It is not one of our installed scripts, since it would hide the real `keyring` everywhere.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from brokerctl.helpers.edit import SCRIPT_MODE, SetupFile
from brokerctl.helpers.edit.scripts import put_script, take_script
from brokerctl.helpers.setups import UsualSetup, own_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part


class KeyringCommandSetup(UsualSetup):
    """A tool with two files: its configuration, then our command."""

    name: str

    if TYPE_CHECKING:

        def path(self, environ: Mapping[str, str]) -> str:
            """Return the tool's configuration file."""

        def put_keys(self, place: SetupFile, text: str) -> str:
            """Return its text with our key."""

        def take_keys(self, place: SetupFile, text: str) -> str | None:
            """Return its text without our key; None if there is none."""

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the configuration and the command."""
        command = own_path(environ, self.name, "keyring")
        return [SetupFile(self.path(environ)), SetupFile(command, SCRIPT_MODE, is_own=True)]

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Make the tool run `keyring`, or write that command, according to the file."""
        part.check_hosts()
        if place.mode == SCRIPT_MODE:
            return put_script(place.path, text, self.name, [part.script, "helper", "keyring"])
        return self.put_keys(place, text)

    def take(self, place: SetupFile, text: str) -> str | None:
        """Take out the key or the command, according to the file."""
        if place.mode == SCRIPT_MODE:
            return take_script(text, self.name)
        return self.take_keys(place, text)

    def advice(self, part: Part) -> str | None:
        """Say what PATH needs."""
        fault = find_fault(self.name, part.environ)
        return f"{self.name} {fault}" if fault else None


def find_fault(tool: str, environ: Mapping[str, str]) -> str | None:
    """Return how PATH has to change: tools look for the command there and nowhere else."""
    folder = os.path.dirname(own_path(environ, tool, "keyring"))
    found = shutil.which("keyring", path=environ.get("PATH", ""))
    if found is not None and os.path.dirname(found) == folder:
        return None
    other = f", before {os.path.dirname(found)}" if found else ""
    return f"looks for a 'keyring' in PATH: put {folder} there{other}"
