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
    from collections.abc import Iterable


def write(doors: Iterable[str]) -> None:
    """Have later starts read at once what they import; `doors`: the modules of hot commands.

    Whatever goes wrong, all that is lost is time at later starts.
    """
    if IMAGE in sys.modules:
        return  # this process was started by it
    try:
        from brokerctl.platform import image_writer

        image_writer.write(*needed(doors), os.environ)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - the command itself has ended well
        return


def needed(doors: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the modules that each warm hand-out needs, and those that only some do.

    Beside the first door these are of tables: the store, and the key's keeper if it lies beside it.
    """
    door, *others = (f"brokerctl.{door}" for door in doors)
    keepers = (traits.entry for traits in KEEPERS.values() if traits.lies_beside)
    warm = [door, *STORES.values(), *(f"brokerctl.keys.{entry}" for entry in keepers)]
    return [_module(entry) for entry in warm], [*others, *map(_module, HELPERS.values())]


def _module(entry: str) -> str:
    return entry.partition(":")[0]
