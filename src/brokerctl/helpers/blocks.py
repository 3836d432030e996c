"""A part of somebody else's configuration that is ours: put in, found, taken out. Pure text.

It stands between two comment lines, so that everything else in the file stays byte for byte, and
taking it out leaves the file as it was. A file that did not end its last line gets the end of
that line from us, which the first comment remembers.
"""

from __future__ import annotations

from brokerctl.errors import UsageError

_BEGIN = "# brokerctl helper install {name}: begin"
_NEW_LINE = " (and the end of the line before)"
_END = "# brokerctl helper install {name}: end"


def put_block(text: str, name: str, lines: list[str]) -> str:
    """Return the text with our part in it: where it was, else at its end."""
    found = _find(text, name)
    before, opening, after = found or _at_end(text, name)
    block = "\n".join([opening, *lines, _END.format(name=name)])
    return f"{before}{block}\n{after}"


def take_block(text: str, name: str) -> str | None:
    """Return the text without our part, as it was before; None if there is none."""
    found = _find(text, name)
    if found is None:
        return None
    before, opening, after = found
    if opening.endswith(_NEW_LINE) and before.endswith("\n") and not after:
        before = before[:-1]
    return before + after


def has_block(text: str, name: str) -> bool:
    """Say whether our part is in the text."""
    return _find(text, name) is not None


def _at_end(text: str, name: str) -> tuple[str, str, str]:
    opening = _BEGIN.format(name=name)
    if text and not text.endswith("\n"):
        return f"{text}\n", opening + _NEW_LINE, ""
    return text, opening, ""


def _find(text: str, name: str) -> tuple[str, str, str] | None:
    """Return what is before our part, its first line, and what is after it."""
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    rows = text.split("\n")
    starts = [at for at, row in enumerate(rows) if row in {begin, begin + _NEW_LINE}]
    ends = [at for at, row in enumerate(rows) if row == end]
    if not starts and not ends:
        return None
    if len(starts) != 1 or len(ends) != 1 or ends[0] < starts[0]:
        raise UsageError(
            f"the part of '{name}' in this file is no longer whole",
            hint=f"remove the lines from '{begin}' to '{end}' by hand",
        )
    start, stop = starts[0], ends[0]
    before = "".join(f"{row}\n" for row in rows[:start])
    return before, rows[start], "\n".join(rows[stop + 1 :])
