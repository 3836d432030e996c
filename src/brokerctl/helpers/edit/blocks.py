"""Lines of somebody else's configuration that are ours: put in, found, taken out. Pure text.

Our lines stand between two comment lines, the marks. People and the tool's own `set` command
write there too: below our last line, or below a header of ours. So a line is ours if it stands
between the marks and has the form that we write, and a header is removed only if nothing of others
is left below it. Everything else in the file stays byte for byte. If the last line of the file had
no newline, we add one, and our first mark notes that.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_BEGIN = "# brokerctl helper install {name}: begin"
_NEW_LINE = " (and the end of the line before)"
_END = "# brokerctl helper install {name}: end"


def _no_header(row: str) -> bool:  # noqa: ARG001 - most formats have none
    return False


class Form(NamedTuple):
    """How the lines that a set-up writes look, in every version of brokerctl."""

    is_ours: Callable[[list[str], int], bool]  # of rows (stripped), and the index of one
    is_header: Callable[[str], bool] = _no_header  # whether a row is a header that we write


class _Found(NamedTuple):
    """The rows of a text by index: ours, and those of others between our marks."""

    rows: list[str]
    gone: set[int]
    others: set[int]
    headers: set[int]  # those of `others` that are our headers, with others' lines below

    @property
    def first(self) -> int:
        """Return the index of the first row that is ours."""
        return min(self.gone)

    @property
    def rest(self) -> list[str]:
        """Return the rows that are not ours."""
        return [row for at, row in enumerate(self.rows) if at not in self.gone]

    @property
    def ends_a_line(self) -> bool:
        """Return whether the newline before our part is ours too, and nothing follows our part."""
        is_noted = self.rows[self.first].rstrip("\r").endswith(_NEW_LINE)
        last = len(self.rows) - 1
        return is_noted and self.gone.issuperset(range(self.first, last)) and not self.rows[last]


def put_block(text: str, name: str, lines: list[str], form: Form) -> str:
    """Return the text with our lines: where they were before, else at the end."""
    found = _find(text, name, form)
    if found is None:
        return _put_at_end(text, name, lines)
    block = [_BEGIN.format(name=name), *lines, _END.format(name=name)]
    if _is_whole(found, block):
        return text
    rest, at = found.rest, found.first - sum(one < found.first for one in found.gone)
    if found.others or not any(rest[at:]):
        return _put_at_end(_joined(found), name, lines)
    return "\n".join([*rest[:at], *block, *rest[at:]])


def put_in_sections(text: str, name: str, sections: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield texts with our lines below their headers; missing headers are added at the end.

    The text must not hold our lines yet. A row that looks like a header may not be one: the caller
    parses each text and picks the right one.
    """
    rows = text.split("\n")
    found = {one: [at for at, row in enumerate(rows) if _bare(row) == one] for one in sections}
    new = [row for one, at in found.items() if not at for row in (one, *sections[one])]
    there = [one for one, at in found.items() if at]
    for chosen in itertools.product(*(found[one] for one in there)):
        below = {at: sections[one] for one, at in zip(there, chosen, strict=True)}
        yield _put_below(rows, name, below, new)


def _put_below(rows: list[str], name: str, below: dict[int, list[str]], new: list[str]) -> str:
    last = below.pop(len(rows) - 1, [])  # below a header in the last row, which has no newline
    made: list[str] = []
    for at, row in enumerate(rows):
        made.append(row)
        if at in below:
            made += [_BEGIN.format(name=name), *below[at], _END.format(name=name)]
    text = "\n".join(made)
    return _put_at_end(text, name, [*last, *new]) if last or new else text


def _bare(row: str) -> str:
    """Return a row without the comment and the white space around it."""
    return row.partition("#")[0].strip()


def take_block(text: str, name: str, form: Form) -> str | None:
    """Return the text without our lines, as it was before; None if there are none."""
    found = _find(text, name, form)
    return None if found is None else _joined(found)


def without_block(text: str, name: str, form: Form) -> str:
    """Return the text without our lines, if there are any."""
    found = _find(text, name, form)
    return text if found is None else _joined(found)


def split_at_block(text: str, name: str) -> tuple[str, list[str]]:
    """Return the text before our first mark, and the rows between the marks."""
    rows = text.split("\n")
    inside = _inside(rows, name)
    first = next(at for at, row in enumerate(rows) if _mark(row, name))
    head = "".join(f"{row}\n" for row in rows[:first])
    return head, [rows[at] for at in sorted(inside) if at > first]


def has_block(text: str, name: str) -> bool:
    """Return whether at least one of our marks is in the text."""
    return any(_mark(row, name) for row in text.split("\n"))


def find_kept(text: str, name: str, form: Form) -> list[str]:
    """Return our headers that stay, because others have written below them."""
    found = _find(text, name, form)
    return [] if found is None else [found.rows[at].strip() for at in sorted(found.headers)]


def _put_at_end(text: str, name: str, lines: list[str]) -> str:
    opening = _BEGIN.format(name=name)
    if text and not text.endswith("\n"):
        text, opening = f"{text}\n", opening + _NEW_LINE
    return text + "".join(f"{row}\n" for row in (opening, *lines, _END.format(name=name)))


def _joined(found: _Found) -> str:
    rest = "\n".join(found.rest)
    return rest[:-1] if found.ends_a_line and rest else rest


def _is_whole(found: _Found, block: list[str]) -> bool:
    """Return whether exactly these lines are in the text already; the newline note may differ."""
    ours = [found.rows[at].rstrip("\r") for at in sorted(found.gone | found.headers)]
    return [ours[0].removesuffix(_NEW_LINE), *ours[1:]] == block


def _find(text: str, name: str, form: Form) -> _Found | None:
    rows = text.split("\n")
    marks = {at for at, row in enumerate(rows) if _mark(row, name)}
    if not marks:
        return None
    bare = [row.strip() for row in rows]
    inside = _inside(rows, name)
    gone = marks | {at for at in inside if form.is_ours(bare, at)}
    gone |= {at for at in inside if form.is_header(bare[at]) and _is_empty(bare, at, gone)}
    others = {at for at in inside - gone if bare[at]}
    return _Found(rows, gone, others, {at for at in others if form.is_header(bare[at])})


def _inside(rows: list[str], name: str) -> set[int]:
    """Return the rows between our marks.

    A tool that removes a section may remove the mark after it: then the end of the text counts.
    """
    found: set[int] = set()
    start = 0
    is_open = next((mark == "end" for row in rows if (mark := _mark(row, name))), False)
    for at, row in enumerate(rows):
        mark = _mark(row, name)
        if not mark:
            continue
        if is_open:
            found.update(range(start, at))
        start, is_open = at + 1, mark == "begin"
    if is_open:
        found.update(range(start, len(rows)))
    return found


def _mark(row: str, name: str) -> str:
    """Return "begin" or "end" for a mark, else ""; an editor may have changed its newline."""
    if row[:1] != "#":
        return ""
    row = row.rstrip("\r").removesuffix(_NEW_LINE)
    if row == _BEGIN.format(name=name):
        return "begin"
    return "end" if row == _END.format(name=name) else ""


def _is_empty(bare: list[str], header: int, gone: set[int]) -> bool:
    """Return whether nothing but comments is left below a header, up to the next one."""
    for at in range(header + 1, len(bare)):
        if bare[at][:1] == "[":
            return True
        if at not in gone and bare[at][:1] not in {"", "#", ";"}:
            return False
    return True
