"""A table on a terminal: as wide as it is, and with nothing in it that a terminal would obey."""

from __future__ import annotations

from brokerctl.text import safe


def print_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print rows of text under their headings."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, pad_edge=False, header_style="")
    for cells in rows:
        table.add_row(*(Text(safe(cell)) for cell in cells))
    Console(highlight=False).print(table)
