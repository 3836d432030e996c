"""Writes the start-up image (`platform.start_image`), after a command that took long anyway."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from brokerctl.config.plan import RULES
from brokerctl.config.platforms import PLATFORMS
from brokerctl.helpers import HELPERS
from brokerctl.model import KEEPERS
from brokerctl.platform.import_finder import IMAGE
from brokerctl.store import STORES

if TYPE_CHECKING:
    from collections.abc import Mapping

INSIDE = "brokerctl.session.inside"  # by which a command begins in a session


def write(doors: Mapping[str, str]) -> None:
    """Write the image, so that later starts read all they import at once.

    `doors`: the fast commands, each with its module.
    """
    if IMAGE in sys.modules and sys.modules[IMAGE].is_whole():
        return  # this process was started from an image
    from brokerctl.platform import image_writer

    image_writer.write(*needed(doors), os.environ)


def needed(doors: Mapping[str, str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the modules of every warm hand-out, and others by what needs them.

    These are the first words of commands, and what `load_at_once` is called for: who waits for
    another process, who is a job, and who is in a session. Of the tables the first have the store,
    and the keepers that lie next to it.
    """
    door, *others = doors
    keepers = (traits.entry for traits in KEEPERS.values() if traits.lies_beside)
    warm = [*STORES.values(), *(f"brokerctl.keys.{entry}" for entry in keepers)]
    groups = {word: [f"brokerctl.{doors[word]}"] for word in others}
    groups |= {f"{others[-1]} {tool}": [_module(entry)] for tool, entry in HELPERS.items()}
    waiting = ["brokerctl.broker.obtain", "brokerctl.store.file.lock_wait"]
    groups[waiting[0]] = waiting
    told = (traits.entry for traits in PLATFORMS.values() if traits.job)
    jobs = ["brokerctl.identity", *(f"brokerctl.identity.{entry}" for entry in told)]
    groups |= {module: [module] for module in map(_module, jobs)}
    groups[RULES] = [RULES, "brokerctl.policy.layers"]
    groups[INSIDE] = [INSIDE]
    return [f"brokerctl.{doors[door]}", *map(_module, warm)], groups


def _module(entry: str) -> str:
    return entry.partition(":")[0]
