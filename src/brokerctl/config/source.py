"""One parsed layer file, and checks whose errors name the line and the column."""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING, Any

from brokerctl.config.positions import line_and_column, locate
from brokerctl.errors import UsageError
from brokerctl.model import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.config.layers import Layer
    from brokerctl.config.positions import Path

_KEYS = "run 'brokerctl profile schema' for every key and what it takes"

_TOML = "write TOML: a text in quotes, a list in brackets, a key once"


class Source(Value):
    """One layer file, parsed: `label` is shown as a value's origin."""

    label: str
    path: str
    text: str
    table: dict[str, Any]

    def error(self, where: Path, message: str, hint: str | None = None) -> UsageError:
        """Make the error for a key: `PATH:LINE:COLUMN: message`."""
        line, column = line_of(self, where)
        return UsageError(f"{self.path}:{line}:{column}: {message}", hint=hint or _KEYS)


def line_of(source: Source, where: Path) -> tuple[int, int]:
    """Return line and column, from 1, of a key, or of the nearest table above it."""
    try:
        return locate(source.text, where)
    except (ValueError, IndexError, RecursionError):
        return 1, 1  # a message without the exact place is still the right message


class Setting(Value):
    """One checked value and where it came from; `source` is None for a preset's."""

    value: Any
    origin: str
    source: Source | None = None
    where: tuple[str | int, ...] = ()


def parse_layer(layer: Layer) -> Source | None:
    """Parse one file's TOML; None if there is no such file."""
    if layer.content is None:
        return None
    try:
        text = layer.content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = layer.content[: error.start].decode("utf-8")
        line, column = line_and_column(before, len(before))
        raise UsageError(f"{layer.path}:{line}:{column}: not UTF-8") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_syntax(layer.path, text, str(error)), hint=_TOML) from None
    except (ValueError, RecursionError, OverflowError):
        raise UsageError(
            f"{layer.path}:1:1: a number, a date or the nesting is out of range"
        ) from None
    return Source(label=layer.label, path=layer.path, text=text, table=table)


def _syntax(path: str, text: str, message: str) -> str:
    what, _, place = message.rpartition(" (at ")
    words = place.rstrip(")").replace(",", "").split()
    if words[:1] == ["line"]:
        line, column = words[1], words[3]
    else:
        line, column = map(str, line_and_column(text, len(text)))
    what = what or message
    return f"{path}:{line}:{column}: {what[:1].lower()}{what[1:]}"


def check_keys(
    source: Source, where: Path, known: Iterable[str], later: frozenset[str] = frozenset()
) -> None:
    """Refuse the first key of a table that this version does not know, with the nearest it does."""
    table: Any = source.table
    for part in where:
        table = table[part]
    for key in table:
        place = (*where, key)
        if key in known:
            continue
        if key in later:
            raise source.error(place, f"{key} is not in this version")
        near = difflib.get_close_matches(key, list(known), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
        raise source.error(place, f"unknown key '{key[:80]}'", hint)


def get_table(source: Source, *where: str) -> dict[str, Any]:
    """Return the table at a path, empty if it is missing."""
    table: Any = source.table
    for number, part in enumerate(where):
        table = table.get(part, {})
        if not isinstance(table, dict):
            raise source.error(where[: number + 1], f"{part} must be a table")
    return dict(table)


def checked(source: Source, where: Path, check: Callable[[object], Any], value: object) -> Any:  # noqa: ANN401 - what TOML holds
    """Return what a check makes of a value; its error gets the value's place in the file."""
    try:
        return check(value)
    except UsageError as error:
        raise source.error(where, f"{where[-1]}: {error.message}", error.hint) from None
