"""Reads the members of an answer that is not quite JSON: a token in it must not be lost.

It reads JSON in any encoding, with a byte order mark, with a key twice, with text behind it, or cut
short; and a form. Members that can't be read are left out; the caller checks each of the others.
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)|[\[\]{}]', re.DOTALL)  # each character once
_FORM = re.compile(r"[A-Za-z0-9_.-]{1,64}=[^&\s<>]*(?:&[A-Za-z0-9_.-]{1,64}=[^&\s<>]*)*")
_MAX_DIGITS = 30


def read(data: bytes) -> object:
    """Return the answer's value, a dict where it has members; None where nothing can be read."""
    text = data.decode(json.detect_encoding(data), "replace").strip("\ufeff\0 \t\r\n")
    if text.startswith(("{", "[")):
        return _members(text)
    if _FORM.fullmatch(text):
        return _merged(parse_qsl(text, keep_blank_values=True, errors="replace"))
    return None


def _members(text: str) -> object:
    try:
        return _JSON.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return _merged(_first_members(text)) or None


def _first_members(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the members that stand before the first place that can't be read."""
    at = 0
    while text[at : at + 1] in {"{", ","}:
        try:
            key, at = _JSON.raw_decode(text, _past_space(text, at + 1))
            at = _past_space(text, at)
            if not isinstance(key, str) or text[at : at + 1] != ":":
                return
            value, at = _value(text, _past_space(text, at + 1))
        except (ValueError, RecursionError):
            return
        yield key, value
        at = _past_space(text, at)


def _value(text: str, at: int) -> tuple[object, int]:
    """Return a member's value and where it ends; None for one that is nested too deep."""
    try:
        return _JSON.raw_decode(text, at)
    except RecursionError:
        depth = 0
        for match in _BRACKETS.finditer(text, at):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
            if depth == 0:
                return None, match.end()
        raise


def _past_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _merged(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members by name; of two of one name the last one that is not empty."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found or value not in (None, ""):
            found[name] = value
    return found


def _number(text: str) -> float | None:
    """Return a number that can be a lifetime; None for one with more digits than any has."""
    return float(text) if len(text) <= _MAX_DIGITS else None


_JSON = json.JSONDecoder(
    strict=False,
    object_pairs_hook=_merged,
    parse_int=lambda text: int(text) if len(text) <= _MAX_DIGITS else None,
    parse_float=_number,
    parse_constant=lambda _: None,
)
