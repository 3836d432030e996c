"""Revokes the grant that a login replaces, or the new one if it could not be stored."""

from __future__ import annotations

import time

from brokerctl.broker.events import event, record_fields
from brokerctl.broker.issuer import RevocationOutcome
from brokerctl.broker.known_issuers import KEEPS, KnownIssuers
from brokerctl.broker.revoke import SPARED
from brokerctl.errors import BrokerError
from brokerctl.freshness import timestamp
from brokerctl.model import HELD, LOCAL_ONLY, UNKNOWN
from brokerctl.platform.work_clock import work_time
from brokerctl.store.slots import queue_item, queue_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.audit.append import Log
    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.broker.request import DecidedRequest
    from brokerctl.keys.ring import KeyRing
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.store.interface import LockedGrant, Store
    from brokerctl.store.values import Grant, Queued

_NOT_STORED = "it could not be stored"


class Replaced:
    """Ends what is left of one of two grants, while the lock of both is held."""

    def __init__(
        self, store: Store, log: Log, ring: KeyRing, issuer: IssuerClient, decided: DecidedRequest
    ) -> None:
        self.store = store
        self.log = log
        self.ring = ring
        self.issuer = issuer
        self.decided = decided

    def give_back(self, locked: LockedGrant, old: Grant | None, answer: TokenAnswer) -> None:
        """Revoke a grant that could not be stored, unless it is on disk or another one is.

        Security: it is left alone while another one is held, because an issuer that hangs both on
        one consent would end that one with it, and a full disk must not do that. Where the new one
        is on disk and not in its slot, the old one is in the queue: whoever revokes it stores the
        slot first, so that no token is served of a grant that has been revoked.
        """
        try:
            held = self.store.find_grant(self.decided.grant_key)
        except BrokerError:
            held = old
        if _is_of(held, answer):
            return
        is_refresh = answer.refresh_token is not None
        hint = "refresh_token" if is_refresh else "access_token"
        ends = None if is_refresh or not answer.expires_in else answer.sent_at + answer.expires_in
        value = answer.refresh_token or answer.access_token
        item = queue_item(self.ring, value, hint, time.time(), expires_at=ends)
        try:
            said = RevocationOutcome(outcome=LOCAL_ONLY, reason=f"{_NOT_STORED}, and {SPARED}")
            if held is None or held.dead_why is not None:
                said = self._revoke_lost(locked, item)
            else:
                drop_queued(self.ring, locked, answer)
            self.log.append_all([self._record(item, said)])
        except BrokerError:
            return  # the error at hand is the one to tell

    def _revoke_lost(self, locked: LockedGrant, item: Queued) -> RevocationOutcome:
        """Revoke what is held nowhere; queue it where that can't be done now."""
        profile, key = self.decided.profile, self.decided.grant_key
        deadline = work_time() + profile.timeout_s
        try:
            said = self.issuer.revoke(profile, item.value, item.token_type_hint, deadline, key)
        except BrokerError as error:
            said = RevocationOutcome(outcome=UNKNOWN, reason=error.message)
        if said.outcome == UNKNOWN:
            locked.enqueue(item, profile=profile.name)
        return said

    def _record(self, item: Queued, said: RevocationOutcome) -> tuple[str, dict[str, Any]]:
        """Return the event of a token's end, and its fields."""
        name = "grant.revoked" if item.token_type_hint == "refresh_token" else "token.revoked"
        until = None if item.expires_at is None else timestamp(item.expires_at)
        fields = record_fields(self.decided) | {
            "fingerprint": item.fingerprint,
            "size": item.size,
            "expires_at": until,
            "outcome": said.outcome,
            "reason": said.reason or _NOT_STORED,
        }
        return event(name, fields)

    def queue_old(self, locked: LockedGrant, old: Grant | None, new: Grant) -> None:
        """Queue the old grant's tokens. Some issuers give the same refresh token again.

        Where the issuer's habit is unknown, those of a grant that had ended before live on: they
        are nobody's any more, and to revoke them could end the new one.
        """
        is_same = new.refresh_token is not None and old is not None
        if old is None or (is_same and old.refresh_token == new.refresh_token):
            return
        held = [one for slot in locked.state.slots for one in (slot.current, *slot.superseded)]
        olds = [
            token
            for token in held
            if token is not None and token.generation < new.generation and token.status in HELD
        ]
        habit = KnownIssuers(self.store, self.ring).find_habit(self.decided.profile)
        may_revoke = habit == KEEPS or (habit is None and old.dead_why is None)
        ending, now = [token for token in olds if may_revoke and token.value], time.time()
        locked.enqueue(
            *(
                queue_item(self.ring, one.value, "access_token", now, expires_at=one.issuer_end)
                for one in ending
            )
        )
        outcomes = {one.fingerprint: LOCAL_ONLY for one in olds}
        locked.settle_all(outcomes | {one.fingerprint: UNKNOWN for one in ending})
        said = RevocationOutcome(outcome=LOCAL_ONLY, reason=SPARED)
        spared = [one for one in olds if one not in ending and one.value]
        self.log.append_all(
            [
                self._record(queue_token(one, time.time()), said)
                for one in spared
                if one.status != LOCAL_ONLY
            ]
        )


def drop_queued(ring: KeyRing, locked: LockedGrant, answer: TokenAnswer) -> None:
    """Take the tokens of an answer from the queue: they are stored, or spared."""
    given = (answer.refresh_token, answer.access_token)
    locked.dequeue(*(ring.fingerprint(one.reveal()) for one in given if one is not None))


def _is_of(held: Grant | None, answer: TokenAnswer) -> bool:
    """Return whether the grant on disk is the one that this answer brought."""
    if held is None or held.dead_why is not None:
        return False
    if answer.refresh_token is not None:
        return held.refresh_token == answer.refresh_token
    issued = held.issued.current if held.issued is not None else None
    return issued is not None and issued.value == answer.access_token
