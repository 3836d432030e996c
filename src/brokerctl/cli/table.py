"""A table on a terminal: as wide as it is, and with nothing in it that a terminal would obey."""

from __future__ import annotations

import shutil
import sys

from brokerctl.paint import is_wanted
from brokerctl.text import safe

_STDOUT = 1
_WHOLE_CHARS = 24
_MIN_COLUMNS = 100


def has_room() -> bool:
    """Return whether stdout is a terminal on which a table of ours is not squeezed."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns >= _MIN_COLUMNS


def print_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print rows of text under their headings."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    header_style = "bold" if is_wanted(_STDOUT) else ""
    table = Table(box=None, pad_edge=False, header_style=header_style)
    texts = [[safe(cell) for cell in cells] for cells in rows]
    for number, heading in enumerate(headings):
        # What is short stays whole, the last column and sentences give way: half a time or half a
        # profile is of no use.
        widest = max((len(cells[number]) for cells in texts), default=0)
        table.add_column(heading, no_wrap=heading != headings[-1] and widest <= _WHOLE_CHARS)
    for cells in texts:
        table.add_row(*map(Text, cells))
    Console(highlight=False).print(table)
