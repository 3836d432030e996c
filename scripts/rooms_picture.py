"""Draws the floors of the house in plain characters, which a terminal and a forge show alike.

The floors are the layers that import-linter holds in every run, the arrows what the code imports.
Of these stands only what no other arrow implies: a room that is reached through another needs none.
"""

from __future__ import annotations

import re
import textwrap
import tomllib

WIDTH = 100
MARKS = ("<!-- rooms: begin, drawn by scripts/rooms.py -->", "<!-- rooms: end -->")
Flats = list[list[str]]  # the rooms of a floor; a wall stands between those that can't meet


def floors_of(settings: str, package: str) -> list[Flats]:
    """Return the layers of pyproject.toml's contract for the whole package, the highest first."""
    tool = tomllib.loads(settings).get("tool", {}).get("importlinter", {})
    for contract in tool.get("contracts", []):
        if contract["type"] == "layers" and contract.get("containers") == [package]:
            return [_flats(layer) for layer in contract["layers"]]
    return []


def _flats(layer: str) -> Flats:
    """Return the flats of a layer: `a | b` may not import each other, `a : b` may."""
    return [re.findall(r"\w+", part) for part in layer.split("|")]


def draw(floors: list[Flats], rooms: dict[str, int], arrows: set[tuple[str, str]]) -> str:
    """Return the picture: rooms with how many files they have, arrows between them."""
    names = {room.rstrip("/"): room for room in rooms}
    kept = needed({name.rstrip("/") for name in rooms}, arrows)
    drawn = [
        [[name for name in flat if name in names] for flat in flats if {*flat} & names.keys()]
        for flats in floors
    ]
    placed = {name for flats in drawn for flat in flats for name in flat}
    texts = [
        [_label(flat, names, rooms) + _arrows(flat, kept) for flat in flats]
        for flats in drawn
        if flats
    ]
    beside = sorted(names.keys() - placed - {"__init__"})
    lines = _boxes(texts)
    lines += [f"  beside it: {_label(beside, names, rooms)}"] if beside else []
    return "".join(f"{line.rstrip()}\n" for line in lines)


def needed(rooms: set[str], arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows that no others imply."""
    after: dict[str, set[str]] = {room: set() for room in rooms}
    for one, other in arrows:
        if "__init__" in (one, other):
            continue  # the version, which has no floor
        after[one.rstrip("/")].add(other.rstrip("/"))
    below = {room: _below(after, room) for room in rooms}
    return {
        (one, other)
        for one, others in after.items()
        for other in others
        # One of a circle implies nothing about the others of it.
        if not any(other in below[by] and by not in below[other] for by in others - {other})
    }


def _below(after: dict[str, set[str]], room: str) -> set[str]:
    seen: set[str] = set()
    todo = [*after[room]]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += after[name]
    return seen


def _label(flat: list[str], names: dict[str, str], rooms: dict[str, int]) -> str:
    """Return the rooms of a flat, folders with a slash and how many files they have."""
    words = [
        f"{names[name]}\N{NO-BREAK SPACE}{rooms[names[name]]}"
        if names[name].endswith("/")
        else name
        for name in flat
    ]
    return " ".join(words)


def _arrows(flat: list[str], kept: set[tuple[str, str]]) -> str:
    found = sorted({other for one, other in kept if one in flat} - {*flat})
    return f" → {' '.join(found)}" if found else ""


def _boxes(floors: list[list[str]]) -> list[str]:
    """Return the floors' texts in boxes that stand on one another."""
    widths = [_widths(texts) for texts in floors]
    edges: list[set[int]] = [set(), *({_sum(row, at) for at in range(len(row))} for row in widths)]
    edges = [*(walls | {0, WIDTH - 1} if walls else set() for walls in edges), set()]
    lines = []
    for floor, (texts, row) in enumerate(zip(floors, widths, strict=True)):
        lines.append(_ceiling(edges[floor], edges[floor + 1]))
        cells = [_wrap(text, width - 2) for text, width in zip(texts, row, strict=True)]
        for line in range(max(map(len, cells))):
            parts = [
                f" {cell[line] if line < len(cell) else '':<{width - 1}}"
                for cell, width in zip(cells, row, strict=True)
            ]
            lines.append(f"│{'│'.join(parts)}│")
    return [*lines, _ceiling(edges[len(floors)], set())] if floors else []


def _wrap(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _sum(row: list[int], at: int) -> int:
    """Return the column of the wall behind a cell."""
    return sum(row[: at + 1]) + at + 1


def _widths(texts: list[str]) -> list[int]:
    """Return the widths of a floor's cells, walls not counted: by the square root of the text."""
    free = WIDTH - 1 - len(texts)
    shares = [max(len(text), 12) ** 0.5 for text in texts]
    row = [int(free * share / sum(shares)) for share in shares]
    row[-1] += free - sum(row)
    return row


def _ceiling(above: set[int], below: set[int]) -> str:
    """Return the line between two floors, with the walls that meet it."""
    signs = {(True, True): "┼", (True, False): "┴", (False, True): "┬"}
    line = [signs.get((at in above, at in below), "─") for at in range(WIDTH)]
    line[0] = "├" if above and below else "┌" if below else "└"
    line[-1] = "┤" if above and below else "┐" if below else "┘"
    return "".join(line)


def put_in(paper: str, picture: str) -> str:
    """Return a paper with the picture between its marks; LookupError if it has none."""
    before, begin, rest = paper.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise LookupError(f"no lines {MARKS[0]!r} and {MARKS[1]!r}")
    return f"{before}{begin}\n```text\n{picture}```\n{end}{after}"
