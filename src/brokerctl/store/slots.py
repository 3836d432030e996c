"""What happens in one slot: a new token supersedes, tokens end, values go."""

from __future__ import annotations

from brokerctl.errors import StoreError
from brokerctl.model import DEAD, EXPIRED, LIVE, SUPERSEDED, size_of
from brokerctl.secret import Secret
from brokerctl.store.entry import GRANT, INTENT
from brokerctl.store.values import Queued

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerctl.model import Token
    from brokerctl.store.interface import Store, StoreKeys
    from brokerctl.store.values import Grant, Intent, Slot

MAX_SUPERSEDED = 16
TIDY = (SUPERSEDED,)  # why a token is queued that nobody asked to be revoked
_GONE = Secret("")


def end_token(token: Token, outcome: str) -> Token:
    """Return the token with its outcome; the value goes where nothing is alive any more."""
    if outcome in DEAD:
        return token.replace(status=outcome, value=_GONE, size=token.known_size)
    return token.replace(status=outcome)


def is_exchanged(token: Token) -> bool:
    """Return whether another token of its grant was exchanged for it: it may outlive both."""
    return token.generation > 0 and token.issued_type is not None


def supersede(token: Token, now: float, *, is_dead: bool) -> Token:
    """Return the token as one that a later one took the place of; `is_dead`: ended by that."""
    if not token.value:
        return token
    if token.issuer_end is not None and token.issuer_end <= now:
        return end_token(token, EXPIRED)
    status = SUPERSEDED if token.status == LIVE else token.status
    # Security: nobody says that one which was exchanged ends with the token that it came of.
    if is_dead and not is_exchanged(token):
        return token.replace(status=status, value=_GONE, size=token.known_size)
    return token.replace(status=status)


def put(
    slot: Slot, token: Token | None, now: float, *, is_dead: bool = False
) -> tuple[Slot, tuple[Token, ...]]:
    """Make `token` the slot's current one; return the slot and the live tokens that fell off.

    An issuer that answers twice with one token has one token, so an equal one is replaced.
    """
    older = slot.superseded if slot.current is None else (slot.current, *slot.superseded)
    kept = [
        supersede(one, now, is_dead=is_dead)
        for one in older
        if token is None or one.fingerprint != token.fingerprint
    ]
    kept, fallen = _bounded(kept)
    return slot.replace(current=token, superseded=tuple(kept)), tuple(fallen)


def _bounded(tokens: list[Token]) -> tuple[list[Token], list[Token]]:
    """Keep 16, newest first; the dead leave before the living, which are returned to be revoked."""
    excess = len(tokens) - MAX_SUPERSEDED
    if excess <= 0:
        return tokens, []
    dead = [position for position, token in enumerate(tokens) if not token.value]
    leaving = set(dead[-excess:])
    living = [position for position in range(len(tokens)) if position not in leaving]
    leaving.update(living[MAX_SUPERSEDED:])
    kept = [token for position, token in enumerate(tokens) if position not in leaving]
    return kept, [tokens[position] for position in sorted(leaving) if tokens[position].value]


def settle(slot: Slot, outcomes: Mapping[str, str]) -> Slot:
    """Return the slot in which these tokens, by fingerprint, have ended so."""

    def settled(token: Token) -> Token:
        outcome = outcomes.get(token.fingerprint)
        return token if outcome is None else end_token(token, outcome)

    return _each(slot, settled)


def retire(slot: Slot, before: int | None) -> Slot:
    """Return the slot that serves no token older than this generation; None: none at all."""

    def retired(token: Token) -> Token:
        is_old = before is None or token.generation < before
        return token.replace(status=SUPERSEDED) if is_old and token.status == LIVE else token

    return _each(slot, retired)


def _each(slot: Slot, change: Callable[[Token], Token]) -> Slot:
    current = None if slot.current is None else change(slot.current)
    return slot.replace(current=current, superseded=tuple(map(change, slot.superseded)))


def has_ended(slot: Slot, now: float) -> bool:
    """Return whether nothing in the slot is alive any more: expired, or known to be dead."""
    tokens = slot.superseded if slot.current is None else (slot.current, *slot.superseded)
    return all(
        not token.value or (token.issuer_end is not None and token.issuer_end <= now)
        for token in tokens
    )


def queue_item(
    ring: StoreKeys,
    value: Secret,
    hint: str,
    since: float,
    *,
    expires_at: float | None = None,
    reason: str = "",
) -> Queued:
    """Make the queue's item for a token; `hint` is its type (RFC 7009, section 2.1).

    A value that is empty stands for what a request of the time `since` may have brought: nobody
    holds that token, so that the item is named by the time.
    """
    name = value.reveal() or f"issue {since}"
    return Queued(
        value=value,
        fingerprint=ring.fingerprint(name),
        token_type_hint=hint,
        since=since,
        expires_at=expires_at,
        reason=reason,
        size=size_of(value),
    )


def queue_token(token: Token, since: float, reason: str = "") -> Queued:
    """Make the queue's item for an access token that is in a slot, by its fingerprint there."""
    return Queued(
        value=token.value,
        fingerprint=token.fingerprint,
        token_type_hint="access_token",
        since=since,
        expires_at=token.issuer_end,
        reason=reason,
        size=token.known_size,
        is_exchanged=is_exchanged(token),
    )


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
    """Return whether the token is in its slot: only the intent was left to be cleared."""
    if slot is None or issued.current is None:
        return False
    held = slot.superseded if slot.current is None else (slot.current, *slot.superseded)
    return any(token.fingerprint == issued.current.fingerprint for token in held)


def find_cut_off(store: Store) -> Iterator[Grant]:
    """Yield the grants whose last commit was cut off; no lock, so one may be at work right now."""
    for entry in store.entries(INTENT):
        try:
            grant: Grant | None = store.read_value(GRANT, entry.name)
        except StoreError:
            continue  # damaged: `store check` tells
        if grant is not None and find_issued(grant, entry.value) is not None:
            yield grant
