"""Changes to files of other tools that people write too: as text, all of them or none."""

from __future__ import annotations

from typing import NamedTuple

PRIVATE_MODE, TEXT_MODE, SCRIPT_MODE = 0o600, 0o644, 0o755


class SetupFile(NamedTuple):
    """A file that a set-up may change, and the mode of one that it makes."""

    path: str
    mode: int = TEXT_MODE
    lock: str | None = None  # what the tool itself puts behind the path of its lock
    is_own: bool = False  # whether all of the file is ours: what another one names
    # For tools that write a file without its comments, which lose our marks:
    is_named: bool = False  # whether a file of our own is there, as only a set-up makes it
    original: str = ""  # the file before the set-up, where that is kept
