"""Questions to a person, and the leases that come of their answers: one sealed entry each.

An entry is read and changed under the lock of its own name. A damaged one is as none: then a person
is asked again. No backup has them: a lease that was put back would have all its uses again.
"""

from __future__ import annotations

from brokerctl.errors import DamagedError
from brokerctl.store import codec
from brokerctl.store.entry import LEASE, QUESTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.store.file import FileStore
    from brokerctl.store.file.lock import EntryLock
    from brokerctl.store.values import ApprovalQuestion, Lease


def lock_of(store: FileStore, name: str) -> EntryLock:
    """Return the lock of an entry's name."""
    return store.lock_entry(name)


def find_lease(store: FileStore, name: str) -> Lease | None:
    """Return a lease, also one that is over."""
    try:
        found: Lease | None = store.read_value(LEASE, name)
    except DamagedError:
        return None
    return found


def find_question(store: FileStore, name: str) -> ApprovalQuestion | None:
    """Return a question, also one that is answered or over."""
    try:
        found: ApprovalQuestion | None = store.read_value(QUESTION, name)
    except DamagedError:
        return None
    return found


def put_lease(store: FileStore, name: str, lease: Lease) -> None:
    """Store a lease durably, over the one before; under its lock."""
    store.put_sealed(LEASE, name, codec.render(lease))


def put_question(store: FileStore, name: str, question: ApprovalQuestion) -> None:
    """Store a question durably, over the one before; under its lock."""
    store.put_sealed(QUESTION, name, codec.render(question))


def all_leases(store: FileStore) -> list[tuple[str, Lease]]:
    """Return the leases by their names, the oldest first."""
    found = [(one.name, one.value) for one in store.entries(LEASE) if one.value is not None]
    return sorted(found, key=lambda item: item[1].given_at)


def all_questions(store: FileStore) -> list[tuple[str, ApprovalQuestion]]:
    """Return the questions by their names, the oldest first."""
    found = [(one.name, one.value) for one in store.entries(QUESTION) if one.value is not None]
    return sorted(found, key=lambda item: item[1].asked_at)


def drop_lease(store: FileStore, name: str, is_meant: Callable[[Lease], bool]) -> Lease | None:
    """Remove a lease durably if it still is what is meant, and return it."""
    with lock_of(store, name):
        found = find_lease(store, name)
        if found is None or not is_meant(found):
            return None
        return found if store.drop_sealed(LEASE, name) else None


def remove_ended(store: FileStore, before: float) -> int:
    """Remove what was over before that time, and return how many that were."""
    count = 0
    for name, lease in all_leases(store):
        if lease.ends_at < before:
            count += drop_lease(store, name, lambda one: one.ends_at < before) is not None
    for name, question in all_questions(store):
        if question.ends_at < before:
            count += _drop_question(store, name, before)
    return count


def _drop_question(store: FileStore, name: str, before: float) -> bool:
    with lock_of(store, name):
        found = find_question(store, name)
        is_over = found is not None and found.ends_at < before
        return is_over and store.drop_sealed(QUESTION, name)
