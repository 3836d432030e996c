"""Commits that were cut off between grant and slot: found, and finished by the next holder.

Such a grant's entry carries the access token that came with it (`Grant.issued`), so that nothing
lives at the issuer that nobody here knows of. It counts only while that commit's intent is there.
"""

from __future__ import annotations

from brokerctl.errors import StoreError
from brokerctl.store.envelope import GRANT, INTENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.model import Grant, Intent, Slot
    from brokerctl.store.file import FileStore


def find_issued(grant: Grant | None, intent: Intent | None) -> Slot | None:
    """Return what a cut-off commit did not get to write; None where none was cut off.

    A refresh names the generation that it redeems, which the commit counts on; a login names the
    one that it makes.
    """
    if grant is None or intent is None or grant.issued is None:
        return None
    is_made = intent.kind == "login" and intent.generation == grant.generation
    return grant.issued if is_made or intent.generation < grant.generation else None


def is_listed(issued: Slot, slot: Slot | None) -> bool:
    """Say whether the token is in its slot: only the intent was left to be cleared."""
    if slot is None or issued.current is None:
        return False
    held = slot.superseded if slot.current is None else (slot.current, *slot.superseded)
    return any(token.fingerprint == issued.current.fingerprint for token in held)


def find_cut_off(store: FileStore) -> Iterator[Grant]:
    """Yield the grants whose last commit was cut off; no lock, so one may be at work right now."""
    for entry in store.entries(INTENT):
        try:
            grant: Grant | None = store.read_value(GRANT, entry.name)
        except StoreError:
            continue  # damaged: `store check` tells
        if grant is not None and find_issued(grant, entry.value) is not None:
            yield grant
