"""Grants and tokens at rest: the table of stores, and what is found when one is searched.

The interface of every store is `interface`, what it holds is `values`.
"""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STORES = {"file": "brokerctl.store.file:FileStore"}


def find_store(name: str) -> Any:  # noqa: ANN401 - the class of a store, whose constructor is its own
    """Return the class of a store by its name in the table: the table costs no import."""
    module, _, attribute = STORES[name].partition(":")
    return getattr(__import__(module, fromlist=(attribute,)), attribute)


class Damage(Value):
    """One entry that could not be opened: its kind and name, why, and where it lies now."""

    kind: int
    name: str
    why: str
    aside: str | None = None  # its name in aside/; None: still in its place


class Entry(Value):
    """One entry as `entries` yields it: a value, or the reason why there is none.

    The value is a Grant, Slot, Intent, Failure, Queue or Kept, and bytes for the sealed blobs.
    """

    kind: int
    name: str
    value: Any = None  # the kind says which
    damage: str | None = None


class Match(Value):
    """Which entries are wanted; None is any. A damaged entry always is: nobody can tell."""

    profile: str | None = None
    issuer: str | None = None
    subject: str | None = None


ANY = Match()
