"""Kills what a grant gave rise to: here at once, at the issuer next, and says what it could not.

Security: everything alive is first queued durably, then ended here, then revoked at the issuer; a
crash at any point leaves it either usable here or in the queue, which later commands retry. The
refresh token goes before the access tokens, so that nothing new can be minted meanwhile.
"""

from __future__ import annotations

import time

from brokerctl.broker.events import event, shown_requester
from brokerctl.broker.issuer import GrantWatch
from brokerctl.broker.known_issuers import ENDS, FROM_NOW_ON, KEEPS, KnownIssuers
from brokerctl.broker.unanswered_requests import queue_cut_off
from brokerctl.errors import BrokerError, shell_word
from brokerctl.freshness import LOCK_WAIT_S, timestamp
from brokerctl.model import (
    DEAD,
    EXPIRED,
    HELD,
    LIVE,
    LOCAL_ONLY,
    REVOKED,
    UNKNOWN,
    Profile,
    Value,
    size_of,
)
from brokerctl.platform.held_signals import signals_wait
from brokerctl.platform.work_clock import work_time
from brokerctl.store.slots import TIDY, queue_item, queue_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.audit.append import Log
    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.keys.ring import KeyRing
    from brokerctl.model import GrantKey, Requester, Token
    from brokerctl.store.interface import LockedGrant, Store
    from brokerctl.store.values import Queued

WHY_ENDED = "its issuer ended it when an access token of it was revoked"
SPARED = "to revoke it could end the grant"
REVOKED_HERE = "revoked here"


class Ending(Value):
    """How one token ended: what `revoke` prints and records."""

    profile: str
    subject: str | None
    kind: str  # refresh_token | access_token
    fingerprint: str
    outcome: str  # revoked | expired | local_only | unknown
    until: float | None = None  # a token that could not be killed lives until then
    reason: str = ""
    is_proven: bool | None = None  # introspection said inactive; None: not asked or not answered
    notice: str = ""  # what people must be told at once
    size: int | None = None  # of the token, in bytes

    @property
    def is_dead(self) -> bool:
        """Return whether nothing can be done with the token any more."""
        return self.outcome in DEAD and self.is_proven is not False


class Revoker:
    """Revokes grants and tokens, one grant's lock at a time."""

    def __init__(
        self,
        store: Store,
        log: Log,
        ring: KeyRing,
        issuer: IssuerClient,
        requester: Requester | None = None,
    ) -> None:
        self.requester = requester
        self.store = store
        self.log = log
        self.ring = ring
        self.issuer = issuer
        self.known = KnownIssuers(store, ring)

    def revoke(
        self, profile: Profile, key: GrantKey, *, verify: bool = False, why: str = REVOKED_HERE
    ) -> list[Ending]:
        """End a grant and all its tokens; returns one ending for each, the worst is not hidden."""
        with self.store.lock_grant(key, work_time() + LOCK_WAIT_S) as locked, signals_wait():
            # Else a token whose slot was never written would live on.
            locked.finish(ends_previous=bool(profile.refresh_ends_previous))
            self._queue_all(locked)
            queue_cut_off(locked, self.ring)  # before the end, which takes the intent away
            grant = locked.state.grant
            if grant is not None:
                locked.end(grant.generation, why)
            return self._flush(profile, key, locked, verify=verify, is_whole=True)

    def revoke_session(self, profile: Profile, key: GrantKey, session: str) -> list[Ending]:
        """Revoke the tokens that one session owns and leave the grant as it is."""
        with self.store.lock_grant(key, work_time() + LOCK_WAIT_S) as locked, signals_wait():
            locked.finish(ends_previous=bool(profile.refresh_ends_previous))
            owned = [one for one in _tokens(locked) if one.session == session and _may_live(one)]
            if self._find_habit(profile, locked) != ENDS:
                locked.enqueue(*(queue_token(one, time.time()) for one in owned))
                locked.settle_all({one.fingerprint: UNKNOWN for one in owned})
                return self._flush(profile, key, locked, verify=False)
            locked.settle_all({one.fingerprint: LOCAL_ONLY for one in owned})
            spared = [_spare(profile, key, queue_token(one, time.time())) for one in owned]
            self.log.append_all([self._record(ending, profile) for ending in spared])
            return [*spared, *self._flush(profile, key, locked, verify=False)]

    def retry(
        self, profile: Profile, key: GrantKey, *, wait_s: float = LOCK_WAIT_S
    ) -> list[Ending]:
        """Try again what is queued for one grant."""
        with self.store.lock_grant(key, work_time() + wait_s) as locked, signals_wait():
            # Else a slot would go on serving a token of the grant that is revoked here.
            locked.finish(ends_previous=bool(profile.refresh_ends_previous))
            return self._flush(profile, key, locked, verify=False)

    def finish(self, profile: Profile, key: GrantKey, *, wait_s: float = LOCK_WAIT_S) -> bool:
        """Finish a commit that was cut off between grant and slot; False if nobody had to."""
        with self.store.lock_grant(key, work_time() + wait_s) as locked:
            issued = locked.finish(ends_previous=bool(profile.refresh_ends_previous))
        if issued is None or issued.current is None:
            return False
        fields = {
            "profile": profile.name,
            "issuer": profile.issuer,
            "subject": key.subject,
            "fingerprint": issued.current.fingerprint,
            "size": issued.current.known_size,
            "generation": issued.current.generation,
            "reason": "finished after an interruption",
            "requester": None if self.requester is None else shown_requester(self.requester),
        }
        self.log.append(*event("grant.refreshed", fields), durable=True)
        return True

    def _queue_all(self, locked: LockedGrant) -> None:
        grant, now = locked.state.grant, time.time()
        value = grant.refresh_token if grant is not None else None
        items = [queue_item(self.ring, value, "refresh_token", now)] if value else []
        alive = [one for one in _tokens(locked) if _may_live(one)]
        locked.enqueue(*items, *(queue_token(one, now) for one in alive))
        locked.settle_all({one.fingerprint: UNKNOWN for one in alive})

    def _find_habit(self, profile: Profile, locked: LockedGrant) -> str | None:
        """Return what the issuer does to a grant with its tokens; KEEPS where none is at stake."""
        if profile.revoke_at_exit != "none" and not _is_at_stake(locked):
            return KEEPS
        return self.known.find_habit(profile)

    def _flush(
        self,
        profile: Profile,
        key: GrantKey,
        locked: LockedGrant,
        *,
        verify: bool,
        is_whole: bool = False,
    ) -> list[Ending]:
        """Revoke what is queued. What nobody knows is told of where the whole grant is revoked."""
        deadline = work_time() + profile.timeout_s
        held = [
            item
            for item in locked.state.queue
            if self._is_held(locked, item) or not (item.value or is_whole)
        ]
        waiting = [item for item in locked.state.queue if _waits(locked, item)]
        queue = sorted(
            (item for item in locked.state.queue if item not in held and item not in waiting),
            key=lambda item: item.token_type_hint != "refresh_token",
        )
        habit = self._find_habit(profile, locked)
        spared = [item for item in queue if _is_spared(habit, locked, item)]
        watch = self._watch(profile, key, locked, [one for one in queue if one not in spared])
        ended = []
        for item in queue:
            if item in spared:
                ended.append((item, _spare(profile, key, item), False))
                continue
            if watch is not None and item.token_type_hint == "access_token":
                watch.begin(item, deadline)
            ended.append((item, self._end_one(profile, key, item, deadline), verify))
        # All are revoked before any is proven: a silent introspection must not cost a revocation.
        endings = [
            self._proven(profile, key, item, said, deadline) if may_prove and item.value else said
            for item, said, may_prove in ended
        ]
        if watch is not None:
            endings = self._learn(profile, key, locked, watch.find(deadline), endings)
            if watch.is_noted and not any(map(_is_access_revoked, endings)):
                self.known.forget_revocation(key)
        self._settle(profile, locked, held, queue, endings)
        return endings

    def _settle(
        self,
        profile: Profile,
        locked: LockedGrant,
        held: list[Queued],
        queue: list[Queued],
        endings: list[Ending],
    ) -> None:
        """Record each ending, then store all of them at once; a crash in between tries again."""
        # What nobody knows stays until it has expired, and where that is not known is told once.
        done = {item.fingerprint: "" for item in held if item.value or _is_over(item)}
        again = []
        outcomes = {}
        self.log.append_all([self._record(ending, profile) for ending in endings])
        for item, ending in zip(queue, endings, strict=True):
            if ending.outcome == UNKNOWN:
                reason = item.reason if item.reason in TIDY else ending.reason
                again.append(item.replace(attempts=item.attempts + 1, reason=reason))
            elif item.value or item.expires_at is None or ending.is_dead:
                outcomes[item.fingerprint] = ending.outcome
        locked.settle_all(outcomes)
        locked.requeue(again, done | outcomes)
        locked.drop_ended()

    def _watch(
        self, profile: Profile, key: GrantKey, locked: LockedGrant, queue: list[Queued]
    ) -> GrantWatch | None:
        """Return what looks at the grant that these revocations may end, having noted them.

        None where no grant is at stake, and where this issuer was seen to keep one.
        """
        grant = locked.state.grant
        is_any = any(item.token_type_hint == "access_token" and item.value for item in queue)
        if grant is None or not is_any or not _is_at_stake(locked):
            return None
        learnt = self.known.find_learnt(key.issuer)
        if learnt is not None and learnt.word == KEEPS:
            return None
        is_noted = self.known.note_revocation(key, grant.generation, time.time())
        return GrantWatch(self.issuer, profile, key, grant, is_noted=is_noted)

    def _learn(
        self,
        profile: Profile,
        key: GrantKey,
        locked: LockedGrant,
        found: str | None,
        endings: list[Ending],
    ) -> list[Ending]:
        """Keep what the issuer was seen to do; a grant that ended is ended here, and said."""
        if found is not None:
            self.known.learn(profile, key.issuer, found, time.time())
        grant = locked.state.grant
        if found != ENDS or grant is None:
            return endings
        locked.end(grant.generation, WHY_ENDED)
        fields = {"profile": profile.name, "issuer": key.issuer, "subject": key.subject}
        self.log.append(*event("grant.ended", fields, reason=WHY_ENDED), durable=True)
        notice = (
            f"the grant for '{profile.name}' has ended: {WHY_ENDED};"
            f" run 'brokerctl login {shell_word(profile.name)}'. {FROM_NOW_ON}"
        )
        return [*endings[:-1], endings[-1].replace(notice=notice)]

    def _is_held(self, locked: LockedGrant, item: Queued) -> bool:
        """Return whether a queued token is that of a grant which has not ended, or is served."""
        grant = locked.state.grant
        if grant is not None and grant.dead_why is None and grant.refresh_token == item.value:
            return True
        current = [slot.current for slot in locked.state.slots if slot.current is not None]
        return any(one.status == LIVE and one.value == item.value for one in current)

    def _end_one(self, profile: Profile, key: GrantKey, item: Queued, deadline: float) -> Ending:
        ending = _ending(profile, key, item)
        if _is_over(item):
            return ending.replace(outcome=EXPIRED)
        if not item.value:
            when = f"{item.reason} (at {timestamp(item.since)})"
            return ending.replace(outcome=LOCAL_ONLY, reason=when)
        try:
            said = self.issuer.revoke(profile, item.value, item.token_type_hint, deadline, key)
        except BrokerError as error:
            return ending.replace(reason=error.message)
        return ending.replace(outcome=said.outcome, reason=said.reason)

    def _proven(
        self, profile: Profile, key: GrantKey, item: Queued, ending: Ending, deadline: float
    ) -> Ending:
        """Ask introspection (RFC 7662): a 200 from revocation is the issuer's word and no proof."""
        if ending.outcome == EXPIRED:
            return ending
        try:
            hint = item.token_type_hint
            is_active = self.issuer.introspect(profile, item.value, hint, deadline, key)
        except BrokerError:
            return ending
        if is_active and ending.outcome == REVOKED:
            reason = "introspection still calls it active"
            return ending.replace(outcome=LOCAL_ONLY, reason=reason, is_proven=False)
        return ending if is_active is None else ending.replace(is_proven=not is_active)

    def _record(self, ending: Ending, profile: Profile) -> tuple[str, dict[str, Any]]:
        """Return the event of an ending, and its fields."""
        fields = {
            "profile": profile.name,
            "issuer": profile.issuer,
            "subject": ending.subject,
            "fingerprint": ending.fingerprint,
            "size": ending.size,
            "expires_at": None if ending.until is None else timestamp(ending.until),
            "outcome": ending.outcome,
            "reason": ending.reason,
            "proven": ending.is_proven,
            "requester": None if self.requester is None else shown_requester(self.requester),
        }
        name = "token.revoked" if ending.kind == "access_token" else "grant.revoked"
        return event(name, fields)


def _ending(profile: Profile, key: GrantKey, item: Queued) -> Ending:
    return Ending(
        profile=profile.name,
        subject=key.subject,
        kind=item.token_type_hint,
        fingerprint=item.fingerprint,
        size=size_of(item.value) if item.size is None else item.size,
        outcome=UNKNOWN,
        until=item.expires_at,
    )


def _spare(profile: Profile, key: GrantKey, item: Queued) -> Ending:
    return _ending(profile, key, item).replace(outcome=LOCAL_ONLY, reason=SPARED)


def _is_at_stake(locked: LockedGrant) -> bool:
    """Return whether there is a grant that could end with a token of it."""
    grant = locked.state.grant
    return grant is not None and grant.dead_why is None


def _is_spared(habit: str | None, locked: LockedGrant, item: Queued) -> bool:
    """Return whether an access token lives on for its grant's sake.

    Where the issuer's habit is unknown only one that somebody wanted to be revoked is.
    """
    if item.token_type_hint != "access_token" or not _is_at_stake(locked):
        return False
    return habit == ENDS or (habit is None and item.reason in TIDY)


def _waits(locked: LockedGrant, item: Queued) -> bool:
    """Return whether a token that nobody asked for is to end with another, which still lives."""
    if item.with_grant:
        return _is_at_stake(locked) and not _is_over(item)
    if item.with_token is None:
        return False
    current = (slot.current for slot in locked.state.slots if slot.current is not None)
    of = [one for one in current if one.fingerprint == item.with_token and one.status == LIVE]
    return any(one.expires_at is None or one.expires_at > time.time() for one in of)


def _is_access_revoked(ending: Ending) -> bool:
    """Return whether the issuer revoked an access token, or may have: its answer was lost."""
    return ending.kind == "access_token" and ending.outcome in {REVOKED, UNKNOWN}


def _is_over(item: Queued) -> bool:
    return item.expires_at is not None and item.expires_at <= time.time()


def _may_live(token: Token) -> bool:
    return token.status in HELD and bool(token.value)


def _tokens(locked: LockedGrant) -> list[Token]:
    """Return every access token of a grant, the oldest first: its slots lie in no order."""
    found = [one for slot in locked.state.slots for one in (slot.current, *slot.superseded)]
    return sorted((token for token in found if token), key=lambda token: token.issued_at)
