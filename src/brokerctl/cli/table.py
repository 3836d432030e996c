"""A table on a terminal: as wide as it is, and with nothing in it that a terminal would obey."""

from __future__ import annotations

import shutil
import sys

from brokerctl.text import safe

_MIN_COLUMNS = 100


def has_room() -> bool:
    """Return whether stdout is a terminal on which a table of ours is not squeezed."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns >= _MIN_COLUMNS


def print_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print rows of text under their headings."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="")
    for heading in headings:
        # The last column alone gives way: half a time or half a profile is of no use.
        table.add_column(heading, no_wrap=heading != headings[-1])
    for cells in rows:
        table.add_row(*(Text(safe(cell)) for cell in cells))
    Console(highlight=False).print(table)
