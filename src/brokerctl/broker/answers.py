"""What a token endpoint's answer means for what is stored: the token, and the end of its grant."""

from __future__ import annotations

from brokerctl.freshness import WEEK_S
from brokerctl.model import Token, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.broker.request import DecidedRequest
    from brokerctl.keys.ring import KeyRing
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.store.values import Grant

_TELLING_S = 10.0  # ends are told in whole seconds, and an answer takes its time to come
_ASSUMED_LIFETIME_S, _LONGEST_LIFETIME_S = 300, 365 * 86400


def make_token(
    ring: KeyRing, decided: DecidedRequest, answer: TokenAnswer, generation: int
) -> Token:
    """Turn the issuer's answer into a token; `expires_in` counts from when the request was sent.

    Security: a lifetime of our own is marked, for nobody may call such a token expired.
    """
    lifetime = answer.expires_in
    if lifetime is None:
        lifetime = decided.profile.lifetime_s or _ASSUMED_LIFETIME_S
    return Token(
        value=answer.access_token,
        fingerprint=ring.fingerprint(answer.access_token.reveal()),
        token_type=answer.token_type,
        scopes=answer.scopes,
        issued_at=answer.sent_at,
        size=size_of(answer.access_token),
        expires_at=answer.sent_at + min(lifetime, _LONGEST_LIFETIME_S),
        generation=generation,
        session=decided.token_key.actor,
        is_assumed=answer.expires_in is None,
        issued_type=answer.issued_type,
        act=answer.act,
        claims=answer.claims,
    )


def find_end(answer: TokenAnswer, old: Grant | None = None) -> float | None:
    """Return when the refresh token of an answer is over; None where the issuer never said.

    It says so of a new one or of none: where the old one goes on, its own end does.
    """
    if answer.refresh_expires_in is not None:
        return answer.sent_at + answer.refresh_expires_in
    is_new = answer.refresh_token is not None
    if old is None or (is_new and answer.refresh_token != old.refresh_token):
        return None
    return old.ends_at


def ends_soon(old: Grant, new: Grant, now: float) -> bool:
    """Return whether a grant ends within a week, however often it is used: it has just been.

    An end that moves on with the time between two answers is none: such a grant ends when nobody
    uses it. Right after another answer that can't be told; the next one tells.
    """
    if old.ends_at is None or new.ends_at is None or new.ends_at - now > WEEK_S:
        return False
    issued = old.issued.current if old.issued is not None else None
    passed = 0.0 if issued is None else now - issued.issued_at  # it was revoked since: not known
    moved = new.ends_at - old.ends_at
    return moved <= 0 or (passed > _TELLING_S and moved < passed / 2)


def rotates(answer: TokenAnswer, grant: Grant | None) -> bool:
    """Return whether an answer holds a refresh token that this grant does not have."""
    found = answer.refresh_token
    return found is not None and (grant is None or grant.refresh_token != found)
