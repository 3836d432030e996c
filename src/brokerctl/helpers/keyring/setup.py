"""Python's `keyring` library, for twine, poetry and whatever else imports it.

Its configuration can name a folder to import from, so every environment finds our back end although
it is not installed there. The configured back end is the library's own chain, which asks ours and
the others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import brokerctl
from brokerctl.errors import UsageError
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.edit.ini import Keys
from brokerctl.helpers.setups import UsualSetup, home_path, own_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_MODULE = "brokerctl_keyring"
_MARK = "# brokerctl helper install keyring: this file\n"


class KeyringSetup(UsualSetup):
    """`~/.config/python_keyring/keyringrc.cfg`, and a module beside our other files."""

    script = "brokerctl"

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the library's configuration and the module that it names."""
        base = environ.get("XDG_CONFIG_HOME") or home_path(environ, ".config")
        module = own_path(environ, "keyring", f"{_MODULE}.py")
        return [
            SetupFile(os.path.join(base, "python_keyring", "keyringrc.cfg")),
            SetupFile(module, is_own=True),
        ]

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Make the library import the module, or write that module, according to the file."""
        part.check_hosts()
        if place.path.endswith(".py"):
            if text and self.take(place, text) is None:
                raise UsageError(f"{place.path} is there already", hint="move it away")
            return f"{_MARK}{_read_backend()}\n\nBackend.brokerctl = {part.script!r}\n"
        return _keys(own_path(part.environ, "keyring")).put(place, text)

    def take(self, place: SetupFile, text: str) -> str | None:
        """Take out our keys or the module, according to the file."""
        if place.path.endswith(".py"):
            return "" if text.startswith(_MARK) else None
        return _keys("*/brokerctl/helpers/keyring").take(place, text)

    def names(self, own: SetupFile, text: str) -> bool:
        """Look for the path of the module's folder, which holds nothing else."""
        return super().names(own._replace(path=os.path.dirname(own.path)), text)

    def advice(self, part: Part) -> str | None:
        """Name the variable that overrides the configuration."""
        if part.environ.get("PYTHON_KEYRING_BACKEND"):
            return "PYTHON_KEYRING_BACKEND is set, and the library asks that back end alone"
        return None


def _keys(folder: str) -> Keys:
    keys = {"default-keyring": f"{_MODULE}.ChainerBackend", "keyring-path": folder}
    return Keys("keyring", "backend", keys)


def _read_backend() -> str:
    """Return our back end's source, to be copied: its own path changes with Python's version."""
    path = os.path.join(os.path.dirname(brokerctl.__file__), "keyring_backend.py")
    with open(path, encoding="utf-8") as file:
        return file.read()
