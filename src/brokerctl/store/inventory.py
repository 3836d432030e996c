"""What is held: every grant and token of the store by fingerprint, never by value."""

from __future__ import annotations

from brokerctl.model import EXPIRED, LIVE, SUPERSEDED, Value
from brokerctl.store.values import Grant, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from brokerctl.model import Token


class Held(Value):
    """One grant or token, or an entry that can't be opened (`damage` says why)."""

    kind: str  # grant | token
    profile: str | None = None
    issuer: str | None = None
    subject: str | None = None
    scopes: tuple[str, ...] = ()
    fingerprint: str | None = None
    issued_at: float | None = None
    expires_at: float | None = None
    status: str = LIVE
    session: str | None = None
    damage: str | None = None


def list_held(
    grants: Iterable[object],
    slots: Iterable[object],
    fingerprint: Callable[[str], str],
    now: float,
    cut_off: Iterable[Grant] = (),
) -> list[Held]:
    """Return what the store's entries of grants and of token slots hold, by profile and issuer.

    `cut_off`: grants whose last token did not get into its slot before a crash.
    """
    found = [_damaged("grant", entry) or _grant(entry, fingerprint) for entry in grants]
    for entry in slots:
        damaged = _damaged("token", entry)
        found += [damaged] if damaged else _tokens(entry, now)
    listed = {held.fingerprint for held in found}
    for grant in cut_off:
        slot = grant.issued
        if slot is not None and slot.current and slot.current.fingerprint not in listed:
            found.append(_token(slot, slot.current, now))
    return sorted(found, key=_order)


def _order(held: Held) -> tuple[str, str, str, str, float]:
    return (
        held.profile or "~",  # damaged entries last
        held.issuer or "",
        held.subject or "",
        held.kind,
        -(held.issued_at or 0),
    )


def _damaged(kind: str, entry: object) -> Held | None:
    damage = getattr(entry, "damage", None)
    if damage is None:
        return None
    return Held(kind=kind, status="damaged", damage=f"{getattr(entry, 'name', '')}: {damage}")


def _grant(entry: object, fingerprint: Callable[[str], str]) -> Held:
    grant = getattr(entry, "value", None)
    assert isinstance(grant, Grant)  # noqa: S101 - the store promises it for this kind
    # Security: the refresh token is seen by the keyed hash alone.
    value = grant.refresh_token
    return Held(
        kind="grant",
        profile=grant.profile,
        issuer=grant.key.issuer,
        subject=grant.key.subject,
        scopes=grant.scopes,
        fingerprint=fingerprint(value.reveal()) if value else None,
        issued_at=grant.obtained_at,
        status=LIVE if grant.dead_why is None else f"ended: {grant.dead_why}",
    )


def _tokens(entry: object, now: float) -> Iterator[Held]:
    slot = getattr(entry, "value", None)
    assert isinstance(slot, Slot)  # noqa: S101 - as above
    for token in (slot.current, *slot.superseded):
        if token is not None:
            yield _token(slot, token, now)


def _token(slot: Slot, token: Token, now: float) -> Held:
    is_over = token.issuer_end is not None and token.issuer_end <= now
    return Held(
        kind="token",
        profile=slot.profile,
        issuer=slot.key.grant.issuer,
        subject=slot.key.grant.subject,
        scopes=token.scopes,
        fingerprint=token.fingerprint,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        status=EXPIRED if is_over and token.status in {LIVE, SUPERSEDED} else token.status,
        session=token.session,
    )
