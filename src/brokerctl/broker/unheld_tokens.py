"""Tokens that an issuer gave and that nobody here will use: each is revoked, queued or recorded.

The disk did not take them, they can't be used, or nobody asked for them: a refresh token that comes
with an exchange is never redeemed, since the next token is another exchange's.
"""

from __future__ import annotations

import time

from brokerctl.broker.answers import find_end, make_token
from brokerctl.broker.events import event, record_fields
from brokerctl.errors import BrokerError, StoreError
from brokerctl.model import LOCAL_ONLY, UNKNOWN
from brokerctl.oauth.tokens import UnusableAnswerError
from brokerctl.store import slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.audit.append import Log
    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.broker.request import DecidedRequest
    from brokerctl.keys.ring import KeyRing
    from brokerctl.model import Token
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.store.interface import LockedGrant, StoreKeys
    from brokerctl.store.values import Queued

NOT_STORED = "it could not be stored"
UNUSABLE = "it can't be used"
UNASKED = "it came with an access token, and nobody uses it"
_ENDS = "; it is revoked when its grant has ended"


class UnheldTokens:
    """Ends the tokens of one request's answers, under the grant's lock."""

    __slots__ = ("_deadline", "_decided", "_issuer", "_locked", "_log", "_ring")

    def __init__(
        self,
        log: Log,
        ring: KeyRing,
        issuer: IssuerClient,
        decided: DecidedRequest,
        locked: LockedGrant,
        deadline: float,
    ) -> None:
        self._log = log
        self._ring = ring
        self._issuer = issuer
        self._decided = decided
        self._locked = locked
        self._deadline = deadline

    def end(self, answer: TokenAnswer, why: str) -> None:
        """Revoke what an answer holds; where a person's grant is at stake, record it.

        Security: many issuers end the grant with any token of it, and neither a full disk nor an
        odd answer must end what the issuer would still honour. A client's own token has no such
        grant, and a refresh token beside it goes first, so that nothing new can be minted.
        """
        is_client = self._decided.grant_key.actor == "client"
        if is_client and answer.refresh_token is not None:
            self._end(_companion(self._ring, answer, why), None, why)
        token = make_token(self._ring, self._decided, answer, generation=0)
        may_revoke = is_client and self._decided.profile.revoke_at_exit != "none"
        self._end(slots.queue_token(token, time.time(), why), token, why, may_revoke=may_revoke)

    def end_unusable(self, error: UnusableAnswerError) -> None:
        """End what came with an answer that can't be used, and that no stored grant needs."""
        if error.issued is not None:
            self.end(error.issued, UNUSABLE)
        elif error.refresh_token is not None and self._decided.grant_key.actor == "client":
            now, value = time.time(), error.refresh_token
            item = slots.queue_item(self._ring, value, "refresh_token", now, reason=UNUSABLE)
            self._end(item, None, UNUSABLE)

    def _end(self, item: Queued, token: Token | None, why: str, *, may_revoke: bool = True) -> None:
        fields = record_fields(self._decided, token)
        fields |= {"fingerprint": item.fingerprint, "size": item.size}
        try:
            outcome = self._revoke(item) if may_revoke else LOCAL_ONLY
            name = "grant.revoked" if token is None else "token.revoked"
            self._log.append(*event(name, fields, outcome=outcome, reason=why), durable=True)
        except BrokerError:
            return  # the error at hand is the one to tell

    def _revoke(self, item: Queued) -> str:
        profile, key, deadline = self._decided.profile, self._decided.grant_key, self._deadline
        try:
            said = self._issuer.revoke(profile, item.value, item.token_type_hint, deadline, key)
            outcome = said.outcome
        except BrokerError:
            outcome = UNKNOWN
        if outcome == UNKNOWN:  # a later command tries again
            self._locked.enqueue(item, profile=profile.name)
        return outcome


def items_of(ring: StoreKeys, answer: TokenAnswer, reason: str = "") -> list[Queued]:
    """Return the queue's items for all that an answer holds; `reason`: of its access token."""
    until = None if answer.expires_in is None else answer.sent_at + answer.expires_in
    now, access = time.time(), answer.access_token
    items = [slots.queue_item(ring, access, "access_token", now, expires_at=until, reason=reason)]
    if answer.refresh_token is not None:
        items.append(slots.queue_item(ring, answer.refresh_token, "refresh_token", now))
    return items


def unusable_items(ring: StoreKeys, error: UnusableAnswerError, reason: str) -> list[Queued]:
    """Return the queue's items for what came with an answer that can't be used."""
    given, issued = error.refresh_token, error.issued
    if issued is not None:
        return items_of(ring, issued.replace(refresh_token=given or issued.refresh_token), reason)
    now = time.time()
    return [] if given is None else [slots.queue_item(ring, given, "refresh_token", now)]


def as_queued(error: UnusableAnswerError) -> UnusableAnswerError:
    """Return the error that says what came and was queued."""
    given, issued = error.refresh_token, error.issued
    given = given or (issued.refresh_token if issued is not None else None)
    if given is None and issued is None:
        return error
    what = "the refresh token" if given else "the access token"
    told = f"{error.message}; {what} that came with it is queued to be revoked"
    told += ", and so is the access token" if given and issued else ""
    return UnusableAnswerError(told, given, issued)


def queue_unasked(locked: LockedGrant, ring: KeyRing, answer: TokenAnswer, profile: str) -> bool:
    """Queue the refresh token that came with a client's access token; False where there is none.

    It waits there until that access token has ended: at most issuers both end with either (RFC
    7009, section 2.1).
    """
    if answer.refresh_token is None:
        return False
    of = ring.fingerprint(answer.access_token.reveal())
    item = _companion(ring, answer, UNASKED).replace(with_token=of)
    locked.enqueue(item, profile=profile)
    return True


def queue_until_end(
    locked: LockedGrant,
    log: Log,
    ring: KeyRing,
    decided: DecidedRequest,
    answer: TokenAnswer,
    why: str,
    *,
    is_companion: bool = False,
) -> None:
    """Queue what came of an exchange for less than a person's grant, and record it.

    Security: it may live on when the grant has ended, so that it must be held; and to revoke it
    before could end the grant. `is_companion`: the refresh token alone.
    """
    token = make_token(ring, decided, answer, generation=0)
    items = [] if answer.refresh_token is None else [_companion(ring, answer, why)]
    if not is_companion:
        items.append(slots.queue_token(token, time.time(), why))
    items = [one.replace(with_grant=True, is_exchanged=True) for one in items]
    outcome, reason = UNKNOWN, why + _ENDS
    try:
        locked.enqueue(*items, profile=decided.profile.name)
    except StoreError:  # the disk is full: the record has them
        outcome, reason = LOCAL_ONLY, why
    fields = record_fields(decided, token)
    records = []
    for one in items:
        name = "grant.revoked" if one.token_type_hint == "refresh_token" else "token.revoked"
        named = {"fingerprint": one.fingerprint, "size": one.size}
        records.append(event(name, fields | named, outcome=outcome, reason=reason))
    log.append_all(records)


def _companion(ring: KeyRing, answer: TokenAnswer, why: str) -> Queued:
    assert answer.refresh_token is not None  # noqa: S101 - the callers have looked
    ends_at, value = find_end(answer), answer.refresh_token
    return slots.queue_item(
        ring, value, "refresh_token", time.time(), expires_at=ends_at, reason=why
    )
