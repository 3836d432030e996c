"""Durations as the configuration and the command line write them: an integer and s, m, h or d."""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.freshness import UNITS_S

_MAX_DIGITS = 9


def parse_duration(text: str) -> int:
    """Return seconds for `[0-9]{1,9}[smhd]`; UsageError for anything else.

    Security: ASCII digits only, because `int` also takes signs, spaces, underscores and the
    digits of other scripts.
    """
    digits, unit = text[:-1], text[-1:]
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    if unit not in UNITS_S or not is_number:
        raise UsageError(f"'{text}' is not a duration", hint="write an integer and s, m, h or d")
    return int(digits) * UNITS_S[unit]


def render_duration(seconds: int) -> str:
    """Return the shortest text that `parse_duration` reads as this many seconds."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % UNITS_S[unit] == 0:
            return f"{seconds // UNITS_S[unit]}{unit}"
    return f"{seconds}s"
