"""Changes to other tools' files, which people edit too: made as text, all of them or none."""

from __future__ import annotations

from typing import NamedTuple

PRIVATE_MODE, TEXT_MODE, SCRIPT_MODE = 0o600, 0o644, 0o755


class SetupFile(NamedTuple):
    """A file that a set-up may change; `mode` is for a file that does not exist yet."""

    path: str
    mode: int = TEXT_MODE
    lock: str | None = None  # the ending of the tool's own lock file
    is_own: bool = False  # whether the whole file is ours, and another file names it
    # For tools that drop all comments when they write the file, and so our marks:
    is_named: bool = False  # whether a file exists that only a set-up makes
    original: str = ""  # the text before the set-up, if there is a copy
