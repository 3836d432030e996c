"""Credentials that other tools made and gave us to keep: one sealed entry each, no grant.

Security: an entry is found by where it was stored for, never by what is asked for alone; whoever
asks names protocol, host, port and path, all of them, and the user if it has one.
"""

from __future__ import annotations

from brokerctl.errors import DamagedError
from brokerctl.store import codec
from brokerctl.store.entry import KEPT, plain_name
from brokerctl.store.file.disk import PLACES
from brokerctl.store.file.lock import EntryLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.platform.private_files import Folder
    from brokerctl.store.file import FileStore
    from brokerctl.store.values import ToolCredential


def kept_name(store: FileStore, one: ToolCredential) -> str:
    """Return the name of an entry: every input that decides to whom it goes back."""
    place = (one.tool, one.protocol, one.host, str(one.port), one.path, one.username)
    return plain_name(store.ring.name_key, "kept", *place)


def all_kept(store: FileStore) -> list[tuple[str, ToolCredential]]:
    """Return what opens, the newest first."""
    found = [(one.name, one.value) for one in store.entries(KEPT) if one.value is not None]
    return sorted(found, key=lambda item: item[1].kept_at, reverse=True)


def has_kept(folder: Folder) -> bool:
    """Return whether a state folder has any; no key is needed, and nothing is made."""
    kept = folder.child(PLACES[KEPT][0], create=False)
    return kept is not None and bool(kept.names())


def count_kept(store: FileStore, now: float) -> int:
    """Return how many are kept and still of use."""
    return sum(not one.is_over(now) for _, one in all_kept(store))


def put(
    store: FileStore, one: ToolCredential, before: Callable[[ToolCredential | None], bool]
) -> bool:
    """Keep one durably, over what its place had; `before` sees that first, and may say no."""
    name = kept_name(store, one)
    with EntryLock(store.disk, name, store.clock):
        if not before(_find(store, name)):
            return False
        store.put_sealed(KEPT, name, codec.render(one))
    return True


def drop(
    store: FileStore, name: str, is_meant: Callable[[ToolCredential], bool]
) -> ToolCredential | None:
    """Remove one durably if it still is what is meant, and return it."""
    with EntryLock(store.disk, name, store.clock):
        found = _find(store, name)
        if found is None or not is_meant(found):
            return None
        return found if store.drop_sealed(KEPT, name) else None


def put_back(store: FileStore, one: ToolCredential) -> bool:
    """Put one of a backup back; False where its place has one, which is newer."""
    return put(store, one, lambda here: here is None)


def remove_over(store: FileStore, now: float) -> int:
    """Remove those whose time is over, and return how many."""
    names = [name for name, one in all_kept(store) if one.is_over(now)]
    return sum(drop(store, name, lambda one: one.is_over(now)) is not None for name in names)


def _find(store: FileStore, name: str) -> ToolCredential | None:
    try:
        found: ToolCredential | None = store.read_value(KEPT, name)
    except DamagedError:
        return None  # it is replaced; until then `store check` tells of it
    return found
