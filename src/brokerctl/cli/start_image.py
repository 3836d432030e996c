"""Has the start-up image (`platform.start_image`) written after a command that took long anyway."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from brokerctl.helpers import HELPERS
from brokerctl.model import KEEPERS
from brokerctl.platform.import_finder import IMAGE
from brokerctl.store import STORES

if TYPE_CHECKING:
    from collections.abc import Mapping


def write(doors: Mapping[str, str]) -> None:
    """Have later starts read at once what they import; `doors`: hot commands and their modules."""
    if IMAGE in sys.modules and sys.modules[IMAGE].is_whole():
        return  # this process was started by it
    from brokerctl.platform import image_writer

    image_writer.write(*needed(doors), os.environ)


def needed(doors: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the modules that each warm hand-out needs, and more by the words that need them.

    Beside the first door these are of tables: the store, and the key's keeper if it lies beside it.
    """
    door, *others = doors
    keepers = (traits.entry for traits in KEEPERS.values() if traits.lies_beside)
    warm = [*STORES.values(), *(f"brokerctl.keys.{entry}" for entry in keepers)]
    groups = {word: f"brokerctl.{doors[word]}" for word in others}
    groups |= {f"{others[-1]} {tool}": _module(entry) for tool, entry in HELPERS.items()}
    return [f"brokerctl.{doors[door]}", *map(_module, warm)], groups


def _module(entry: str) -> str:
    return entry.partition(":")[0]
