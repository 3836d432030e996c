"""The store's entries one by one: no lock is taken, and a damaged one is yielded as such."""

from __future__ import annotations

from brokerctl.errors import StoreError
from brokerctl.store.values import ANY, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.store.file import FileStore
    from brokerctl.store.values import Match


def list_entries(store: FileStore, kind: int, where: Match | None) -> Iterator[Entry]:
    """Yield the entries of a kind that match."""
    for name in store.disk.names(kind):
        entry = _open(store, kind, name)
        if entry is not None and _matches(entry, where or ANY):
            yield entry


def _open(store: FileStore, kind: int, name: str) -> Entry | None:
    try:
        value = store.read_value(kind, name)
    except StoreError as error:
        return Entry(kind=kind, name=name, damage=error.message)
    # None: gone since it was listed
    return None if value is None else Entry(kind=kind, name=name, value=value)


def _matches(entry: Entry, where: Match) -> bool:
    value = entry.value
    if value is None or where == ANY:
        return True
    profile = getattr(value, "profile", None)
    if where.profile is not None and profile != where.profile:
        return False
    key = getattr(value, "key", None)
    key = getattr(key, "grant", key)
    return all(
        wanted is None or getattr(key, field, None) == wanted
        for field, wanted in (("issuer", where.issuer), ("subject", where.subject))
    )
