"""Requests that got no answer: the issuer may have issued a token or a grant that nobody has.

An access token of a person's grant is ended by ending the grant, unless it was exchanged for
another. A client's own token has no grant, and the grant of a login whose answer never came is held
by nobody. Each is queued without a value: `revoke` says that it may be alive, and until when, as
far as that is known.
"""

from __future__ import annotations

import os
import time

from brokerctl.errors import IssuerError, StoreError, UnsentError, UsageError
from brokerctl.freshness import timestamp
from brokerctl.oauth.message import should_retry
from brokerctl.oauth.steps import Send
from brokerctl.secret import Secret
from brokerctl.store.slots import queue_item
from brokerctl.store.values import Intent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from brokerctl.broker.request import DecidedRequest
    from brokerctl.model import Profile
    from brokerctl.oauth.steps import Steps
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.store.interface import LockedGrant, StoreKeys
    from brokerctl.store.values import Grant, Queued

WHY = "a request that got no answer may have brought it, and nobody knows it"
WHY_LOGIN = "a login that got no answer may have brought it, and nobody holds it"
LIVED_ON = 0  # as an intent's process: it came back without an answer, so it was not killed
EXCHANGE = "exchange"  # the kind of an intent to exchange an access token of a grant
_UNKNOWN = Secret("")


class Watched:
    """Notes requests without an answer: they may have rotated a grant's token, or issued one."""

    __slots__ = ("unanswered", "was_cut")

    def __init__(self) -> None:
        self.was_cut = False  # a request went out whose answer may have been lost
        self.unanswered: list[float] = []  # when requests got no answer

    def run(
        self, steps: Steps, check: Callable[[object, Any], None] = lambda _step, _found: None
    ) -> Steps:
        """Yield the steps, and note what comes of them; `check` may raise for what one found."""
        try:
            step = next(steps)
            while True:
                try:
                    response = yield step
                    check(step, response)
                except (IssuerError, UsageError) as error:
                    if isinstance(step, Send):
                        self.was_cut |= should_retry(error)
                        if not isinstance(error, UnsentError | UsageError):
                            self.unanswered.append(time.time())
                    step = steps.throw(error)
                else:
                    self.was_cut |= isinstance(step, Send) and should_retry(response)
                    step = steps.send(response)
        except StopIteration as end:
            answer: TokenAnswer = end.value
            return answer


def make_intent(ring: StoreKeys, decided: DecidedRequest, grant: Grant | None) -> Intent:
    """Return what is written before a request of this process is sent, for a grant or without."""
    refresh_token = grant.refresh_token if grant else None
    return Intent(
        key=decided.grant_key,
        profile=decided.profile.name,
        kind="refresh" if refresh_token is not None else "issue",
        generation=grant.generation if grant else 0,
        at=time.time(),
        fingerprint=ring.fingerprint(refresh_token.reveal()) if refresh_token else None,
        pid=os.getpid(),
        host=os.uname().nodename,
    )


def queue_unanswered(
    locked: LockedGrant,
    ring: StoreKeys,
    profile: Profile,
    asked_at: Iterable[float],
    lifetime_s: int | None = None,
) -> None:
    """Queue the tokens that requests of these times may have brought; on a full disk, nothing.

    `lifetime_s` is that of the token that came in the end: those of the lost answers are taken to
    live as long, also the ones that are queued already. The record has them in any case.
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


def queue_login(locked: LockedGrant, ring: StoreKeys, profile: Profile, asked_at: float) -> None:
    """Queue the grant that a login's request of that time may have brought."""
    try:
        locked.enqueue(_login_item(ring, asked_at), profile=profile.name)
    except StoreError:
        return  # the disk is full: the record has it


def queue_cut_off(locked: LockedGrant, ring: StoreKeys) -> None:
    """Queue what a killed request may have brought, before another intent replaces its intent."""
    intent, grant = locked.state.earlier_intent, locked.state.grant
    if intent is None:
        return
    if intent.kind == EXCHANGE or (intent.kind == "issue" and grant is None):
        item = _item(ring, intent.at)
    elif intent.kind == "login" and (grant is None or grant.generation < intent.generation):
        item = _login_item(ring, intent.at)
    else:
        return
    locked.enqueue(item)
    locked.resolve()


def explain_earlier(locked: LockedGrant) -> dict[str, str]:
    """Return what a record says of an earlier request whose answer nobody has.

    The grant survived it. The access token, if one was issued, can't be revoked: nobody knows it.
    """
    intent, grant = locked.state.earlier_intent, locked.state.grant
    is_its = intent is not None and intent.generation == (grant.generation if grant else 0)
    if intent is None or intent.kind == "login" or not is_its:
        return {}
    happened = "got no answer" if intent.pid == LIVED_ON else "was cut off"
    when = f"an earlier request {happened} at {timestamp(intent.at)}"
    return {"reason": f"{when}: a token of it may be alive until it expires"}


def _item(ring: StoreKeys, at: float) -> Queued:
    return queue_item(ring, _UNKNOWN, "access_token", at, reason=WHY)


def _login_item(ring: StoreKeys, at: float) -> Queued:
    return queue_item(ring, _UNKNOWN, "refresh_token", at, reason=WHY_LOGIN)
