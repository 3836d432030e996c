"""Makes a record plain and cuts it to fit: for what is no JSON as it is, or too long for a line."""

from __future__ import annotations

from brokerctl.jsonlite import dumps
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CUTS = ((1024, 64), (256, 32), (96, 16), (32, 8), (12, 4), (4, 2))  # (characters, items) kept
_MAX_DEPTH = 6


def as_plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - JSON is what it is
    """Return a field as JSON's own types; what is nested too deep becomes an ellipsis."""
    if isinstance(value, str):
        # Security: a path from /proc may hold bytes that are no UTF-8; a reader must not stumble.
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Value):
        value = value.as_dict()
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {as_plain(key, depth): as_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_plain(item, depth + 1) for item in value]
    return value


def cut_to_fit(plain: dict[str, Any], room: int) -> dict[str, Any]:
    """Return the fields shortened, and marked so, until they take no more than `room` bytes."""
    for chars, items in _CUTS:
        cut = {name: _cut(value, chars, items) for name, value in plain.items()}
        cut["cut"] = True
        if len(dumps(cut)) <= room:
            return cut
    kept: dict[str, Any] = {"cut": True}
    for name, value in plain.items():  # too many fields: the first that fit, as they matter most
        kept[name] = _cut(value, *_CUTS[-1])
        if len(dumps(kept)) > room:
            del kept[name]
    return kept


def _cut(value: Any, chars: int, items: int) -> Any:  # noqa: ANN401 - as as_plain
    if isinstance(value, str) and len(value) > chars:
        return f"{value[:chars]}…(+{len(value) - chars})"
    if isinstance(value, list):
        left = [_cut(item, chars, items) for item in value[:items]]
        return [*left, f"…(+{len(value) - items})"] if len(value) > items else left
    if isinstance(value, dict):
        names = list(value)
        kept = {_cut(name, chars, items): _cut(value[name], chars, items) for name in names[:items]}
        return {**kept, "…": len(names) - items} if len(names) > items else kept
    return value
