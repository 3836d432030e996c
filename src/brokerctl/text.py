r"""Makes foreign text safe to show: no issuer, server or file can control the terminal.

Characters that move the cursor, change the direction of writing or have no width are written as an
escape (`\x1b`, `\u202e`), so that a line shows everything that it holds.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Printable by Unicode's categories, but invisible: joiners, fillers, selectors, a blank.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_CUT = "..."


def safe(text: str, limit: int = 200) -> str:
    """Return text without a control, bidirectional or invisible character, cut to `limit`."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    room = limit - len(_CUT)
    pieces: list[str] = []
    length = kept = kept_length = 0
    for char in text:
        piece = char if _is_plain(char) else _escape(char)
        length += len(piece)
        if length > limit:
            return "".join(pieces[:kept]) + _CUT[: limit - kept_length]
        pieces.append(piece)
        if length <= room:
            kept, kept_length = len(pieces), length
    return "".join(pieces)


def count_of(count: int, one: str, many: str = "") -> str:
    """Return `1 token`, `2 tokens`."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def any_of(words: Iterable[str]) -> str:
    """Return `a`, `a or b`, `a, b or c`: the choices, of which there must be at least one."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _is_plain(char: str) -> bool:
    # `isprintable` is false for the categories C*, Zl, Zp and for every space but the usual one.
    return (
        char.isprintable()
        and char not in _UNSEEN
        and not "\ufe00" <= char <= "\ufe0f"
        and not "\U000e0100" <= char <= "\U000e01ef"
    )


def _escape(char: str) -> str:
    return (
        char.encode("ascii", "backslashreplace").decode()
        if char > "\x7f"
        else f"\\x{ord(char):02x}"
    )
