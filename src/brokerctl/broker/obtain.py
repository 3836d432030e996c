"""A token that the store does not have: wait for the process that gets it, look again, redeem.

Light, because most processes end here without talking to the issuer: one of many that wait, one
that finds a dead grant, one whose issuer is down. Only the one that finds nothing done redeems.
"""

from __future__ import annotations

import time

from brokerctl.errors import (
    BrokerError,
    DeniedError,
    IssuerError,
    LockTimeoutError,
    LoginNeededError,
    StoreError,
    shell_word,
)
from brokerctl.freshness import CLOCK_BACK_S, LOCK_WAIT_S
from brokerctl.platform.system import os
from brokerctl.platform.work_clock import work_time
from brokerctl.store.values import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.broker.request import DecidedRequest, Redeem
    from brokerctl.model import Token
    from brokerctl.store.interface import LockedGrant, Store
    from brokerctl.store.values import Grant

STEPS_S = (5.0, 10.0, 20.0, 30.0)
JITTER = 0.2  # of the step, added: never less than the step
_MICROS = 1_000_000


class Obtaining:
    """One request that the store could not answer."""

    __slots__ = ("_deadline", "_decided", "_redeem", "_seen", "_store")

    def __init__(self, store: Store, redeem: Redeem, decided: DecidedRequest) -> None:
        self._store = store
        self._redeem = redeem
        self._decided = decided
        self._deadline = self._deadline_from(work_time())
        self._seen = 0  # the serial of the failure that was there before this request

    def run(self) -> tuple[Token, str]:
        """Return the token and where it came from; while an issuer is down, one still good."""
        decided = self._decided
        try:
            failure = self._store.find_failure(decided.grant_key)
            if failure is not None:
                self._seen = failure.serial
                left = failure.retry_at - time.time()
                if self._waits() and _holds_back(failure, time.time()):
                    self._refuse_dead(self._store.find_grant(decided.grant_key))
                    raise remembered(failure, decided, left)
            token = None if decided.is_made_anew else self._wait()
            if token is not None:
                return token, "cache"
            self._refuse_dead(self._store.find_grant(decided.grant_key))
            return self._under_lock()
        except (IssuerError, LockTimeoutError):
            # Read again: the process that was waited for may have ended the token.
            held = decided.find_in(self._store)
            if held is not None and decided.still_good(held, time.time()):
                return held, "cache"
            raise

    def _waits(self) -> bool:
        """Return whether a failure that was just now keeps this request from the issuer."""
        request = self._decided.request
        return request.is_patient or not request.is_fresh

    def check(self) -> None:
        """Raise what `run` would raise without a request: the grant ended, or failed recently."""
        failure = self._store.find_failure(self._decided.grant_key)
        self._refuse_dead(self._store.find_grant(self._decided.grant_key))
        if failure is not None and _holds_back(failure, time.time()):
            raise failed(failure)

    def _deadline_from(self, now: float) -> float:
        latest, deadline = now + LOCK_WAIT_S, self._decided.request.deadline
        return latest if deadline is None else min(latest, deadline)

    def _wait(self) -> Token | None:
        """Return the token that another process got meanwhile; None if none got one that serves us.

        The lock is not taken: else each of many waiters would wait for all the others.
        """
        try:
            self._store.wait_for_another(self._decided.grant_key, self._deadline)
        except LockTimeoutError as error:
            token = self._look_again()
            if token is not None:
                return token  # who got it has only kept the lock, or we got no processor to see it
            raise self._adopted() or error from None
        token = self._look_again()
        if token is None:
            failure = self._adopted()
            if failure is not None:
                raise failure
        return token

    def _under_lock(self) -> tuple[Token, str]:
        now = work_time()
        # A holder that was at work may have taken all of our wait, and one more: the next is new.
        deadline = self._deadline if now < self._deadline else self._deadline_from(now)
        try:
            with self._store.lock_grant(self._decided.grant_key, deadline) as locked:
                return self._decide_under_lock(locked)
        except LockTimeoutError as error:
            token = self._look_again()
            if token is not None:
                return token, "cache"
            raise self._adopted() or error from None

    def _decide_under_lock(self, locked: LockedGrant) -> tuple[Token, str]:
        """Look again: the last holder of the lock may have got the token, or failed to."""
        token, state = self._look_again(), locked.state
        if token is not None:
            return token, "cache"
        if state.failure is not None and state.failure.serial > self._seen:
            raise failed(state.failure)
        self._refuse_dead(state.grant)
        token = self._redeem(self._decided, locked)
        if state.grant is not None and token.issued_type is not None:
            return token, "exchange"
        return token, "refresh" if state.grant else "issue"

    def _look_again(self) -> Token | None:
        token = self._decided.find_in(self._store)
        return token if token is not None and self._decided.serves(token, time.time()) else None

    def _adopted(self) -> BrokerError | None:
        """Return the failure that a holder of the lock wrote while we waited; None if none did."""
        failure = self._store.find_failure(self._decided.grant_key)
        is_new = failure is not None and failure.serial > self._seen
        return failed(failure) if failure is not None and is_new else None

    def _refuse_dead(self, grant: Grant | None) -> None:
        if not self._decided.profile.traits.needs_person:
            return
        name, subject = self._decided.profile.name, self._decided.request.subject
        hint = f"run 'brokerctl login {shell_word(name)}'"
        if subject:
            hint = f"run 'brokerctl login {shell_word(name)} --subject {shell_word(subject)}'"
        if grant is None:
            raise LoginNeededError(f"no grant for '{name}'", hint=hint)
        if grant.dead_why is not None:
            raise LoginNeededError(f"the grant for '{name}' has ended: {grant.dead_why}", hint=hint)
        if grant.refresh_token is None:
            raise LoginNeededError(f"the token for '{name}' can't be refreshed", hint=hint)


def _holds_back(failure: Failure, now: float) -> bool:
    """Return whether it is too early to ask again; a clock that was wrong must not hold us back."""
    return failure.at - CLOCK_BACK_S <= now < failure.retry_at


def failed(failure: Failure) -> BrokerError:
    """Return the error of a stored failure, for a process that waited or that comes later."""
    kinds: dict[int, type[BrokerError]] = {
        kind.exit_code: kind
        for kind in (LoginNeededError, DeniedError, IssuerError, StoreError, LockTimeoutError)
    }
    return kinds.get(failure.exit_code, IssuerError)(failure.message, hint=failure.hint)


def remembered(failure: Failure, decided: DecidedRequest, left_s: float) -> BrokerError:
    """Return the error for a request that comes too early: it says how to ask at once.

    Nobody can do that for a grant that another issuer is to take: whoever wants it says it.
    """
    error = failed(failure)
    if decided.request.made_out_to:
        return error
    whose = f" --subject {shell_word(decided.request.subject)}" if decided.request.subject else ""
    again = f"'brokerctl get {shell_word(decided.profile.name)}{whose} --fresh' asks now"
    now = f"not asked again for {int(left_s) + 1} s: {again}"
    hint = error.hint or error.usual_hint
    error.hint = f"{hint}; {now}" if hint else now
    return error


def _share(count: int) -> float:
    return int.from_bytes(os.urandom(count), "big") / float(1 << (8 * count))


def next_failure(
    previous: Failure | None,
    now: float,
    error: BrokerError,
    random: Callable[[int], float] = _share,
) -> Failure:
    """Return what to remember of a failed attempt; `random(4)` gives a share from 0 up to 1.

    The serial counts microseconds, so that it goes forward even across a success that forgot
    the failures before it.
    """
    attempt = previous.attempt + 1 if previous else 1
    step = STEPS_S[min(attempt, len(STEPS_S)) - 1]
    return Failure(
        attempt=attempt,
        serial=max(int(now * _MICROS), previous.serial + 1 if previous else 1),
        at=now,
        retry_at=now + step * (1 + JITTER * random(4)),
        exit_code=error.exit_code,
        name=error.name,
        message=error.message,
        hint=error.hint,
    )
