"""A client's requests that got no answer: a token may have come of one, and nobody knows it.

A person's grant reaches what it gave rise to; a client's own token hangs on nothing. So it is
queued without a value: `revoke` says that it may live, and until when, as far as that is known.
"""

from __future__ import annotations

from brokerctl.errors import StoreError
from brokerctl.model import Queued
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerctl.model import Profile
    from brokerctl.store.file.disk import StoreKeys
    from brokerctl.store.interface import LockedGrant

WHY = "a request that got no answer may have brought it, and nobody knows it"


def queue_unanswered(
    locked: LockedGrant,
    ring: StoreKeys,
    profile: Profile,
    asked_at: Iterable[float],
    lifetime_s: int | None = None,
) -> None:
    """Queue what requests of these times may have brought; a disk that is full has the record.

    `lifetime_s` is what the issuer says of the token that came instead: it tells until when those
    may live that are queued already.
    """
    items = [_item(ring, at) for at in asked_at]
    items += [one for one in locked.state.queue if not one.value and one.expires_at is None]
    if not items:
        return
    lived = max([*_lifetimes(locked), lifetime_s or profile.lifetime_s or 0])
    if lived:
        items = [one.replace(expires_at=one.since + lived) for one in items]
    try:
        locked.enqueue(*items, profile=profile.name)
    except StoreError:
        return


def _lifetimes(locked: LockedGrant) -> list[float]:
    """Return for how long the issuer let other tokens of this client live."""
    current = [slot.current for slot in locked.state.slots if slot.current is not None]
    return [one.issuer_end - one.issued_at for one in current if one.issuer_end is not None]


def queue_cut_off(locked: LockedGrant, ring: StoreKeys) -> None:
    """Queue what a client's request may have brought that was killed in the middle."""
    intent = locked.state.earlier_intent
    if intent is not None and intent.kind == "issue" and locked.state.grant is None:
        locked.enqueue(_item(ring, intent.at))
        locked.resolve()


def _item(ring: StoreKeys, at: float) -> Queued:
    return Queued(
        value=Secret(""),
        fingerprint=ring.fingerprint(f"issue {at}"),
        token_type_hint="access_token",
        since=at,
        expires_at=None,
        reason=WHY,
    )
