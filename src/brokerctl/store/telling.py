"""Tells of entries that were set aside: one line for people and one record for each kind of it."""

from __future__ import annotations

from brokerctl.errors import BrokerError
from brokerctl.store.envelope import KIND_NAMES
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from brokerctl.store.values import Damage

EVENT = "store.damaged"


def tell(
    found: Iterable[Damage],
    say: Callable[[str], None],
    record: Callable[[str, dict[str, Any]], object],
) -> None:
    """Say and record each damage; those of one kind and reason are counted, not repeated."""
    groups: dict[tuple[int, str, bool], list[Damage]] = {}
    for one in found:
        groups.setdefault((one.kind, _why(one), one.aside is not None), []).append(one)
    for alike in groups.values():
        say(f"brokerctl: warning: {safe(_line(alike))}")
        try:
            record(EVENT, _fields(alike))
        except BrokerError:
            continue  # what hands a token out needs the log too, and says what is wrong with it


def _why(one: Damage) -> str:
    """Return the reason without the name, whose 64 characters tell nobody anything."""
    before, named, after = one.why.rpartition(one.name)
    if named and before.startswith("/"):  # a path: the rest of it goes too
        return f"it {after.partition(' ')[2]}"
    return one.why.replace(f"{KIND_NAMES[one.kind]} {one.name}", "it")


def _line(alike: list[Damage]) -> str:
    first = alike[0]
    kind = KIND_NAMES[first.kind]
    article = "an" if kind[0] in "aeiou" else "a"
    what = f"{article} {kind} entry was" if len(alike) == 1 else f"{len(alike)} {kind} entries were"
    done = "damaged and set aside" if first.aside is not None else "damaged, and is gone now"
    return f"{what} {done}: {_why(first)}; run 'brokerctl store check'"


def _fields(alike: list[Damage]) -> dict[str, Any]:
    return {
        "kind": KIND_NAMES[alike[0].kind],
        "count": len(alike),
        "names": [one.aside or one.name for one in alike],
        "reason": _why(alike[0]),
        "outcome": "set aside" if alike[0].aside is not None else "gone",
    }
