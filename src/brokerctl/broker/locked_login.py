"""Carries out a login's steps so that no grant is asked for that could not be stored."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from brokerctl.broker.unanswered_requests import queue_cut_off
from brokerctl.errors import IssuerError, StoreError, UnsentError
from brokerctl.freshness import LOCK_WAIT_S
from brokerctl.oauth.message import SERVER_ERROR, TOO_MANY
from brokerctl.oauth.steps import Send, Wait
from brokerctl.oauth.tokens import read_members
from brokerctl.platform.held_signals import signals_wait
from brokerctl.platform.work_clock import work_time
from brokerctl.store.values import Intent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, Self

    from brokerctl.model import GrantKey
    from brokerctl.oauth.message import HttpResponse
    from brokerctl.store.interface import LockedGrant, Store, StoreKeys

    class Interaction(Protocol):
        """Carries out one step of a flow, with a person where it needs one."""

        def do(self, step: Any) -> Any:  # noqa: ANN401 - each step has an answer of its own
            """Return what came of the step."""


_SPENT = ("invalid_grant", "expired_token")


class LockedLogin:
    """Wraps an interaction: a token request is sent under the lock, after a durable intent.

    Between two polls of the device flow the lock is given up, so that no refresh has to wait.
    """

    def __init__(
        self,
        interaction: Interaction,
        store: Store,
        ring: StoreKeys,
        key: GrantKey,
        token_url: str | None,
        profile: str = "",
    ) -> None:
        self._interaction = interaction
        self._store = store
        self._ring = ring
        self._key = key
        self._profile = profile
        self._token_url = token_url
        self._stack = ExitStack()
        self._locked: LockedGrant | None = None
        # When a token request was sent that got no answer; None once a later answer disproved it.
        self.unanswered_at: float | None = None

    def __enter__(self) -> Self:
        """Take no lock yet."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Give the lock up; a login that failed leaves no intent."""
        self._release(is_pending=failure[0] is not None)

    def do(self, step: Any) -> Any:  # noqa: ANN401 - each step has an answer of its own
        """Carry out one step."""
        if isinstance(step, Wait):
            self._release(is_pending=True)
        elif isinstance(step, Send) and step.request.url == self._token_url:
            self.hold()
            return self._ask(step)
        return self._interaction.do(step)

    def _ask(self, step: Send) -> Any:  # noqa: ANN401 - as above
        try:
            response = self._interaction.do(step)
        except UnsentError:
            raise
        except IssuerError:
            self.unanswered_at = time.time()
            raise
        if not _leaves_open(response):
            self.unanswered_at = None
        return response

    def hold(self) -> LockedGrant:
        """Take the grant's lock, write the intent, and hold signals back."""
        if self._locked is None:
            deadline = work_time() + LOCK_WAIT_S
            self._locked = self._stack.enter_context(self._store.lock_grant(self._key, deadline))
            self._stack.enter_context(signals_wait())
            # The intent of a refresh that was cut off explains a grant's death: it is kept, and
            # written again all the same, which proves that the store is writable.
            kept = _cut_off(self._locked)
            queue_cut_off(self._locked, self._ring)
            self._locked.intend(self._intent(self._locked) if kept is None else kept)
        return self._locked

    def withdraw(self) -> None:
        """Clear our own intent, unless the grant is on disk: the next holder needs it to finish."""
        if self._locked is not None and _cut_off(self._locked) is None and not self._is_stored():
            self._locked.withdraw()

    def _is_stored(self) -> bool:
        """Return whether the disk has the grant of this login, whatever went wrong after it."""
        assert self._locked is not None  # noqa: S101 - the caller has looked
        intent = self._locked.state.intent
        try:
            grant = self._store.find_grant(self._key)
        except StoreError:
            return True  # it may be there, and an intent too many does no harm
        return intent is not None and grant is not None and grant.generation >= intent.generation

    def _release(self, *, is_pending: bool) -> None:
        try:
            if is_pending:
                self.withdraw()
        finally:
            self._locked = None
            self._stack.close()

    def _intent(self, locked: LockedGrant) -> Intent:
        return Intent(
            key=self._key,
            profile=self._profile,
            kind="login",
            generation=locked.next_generation,  # not the old one's: it is not being redeemed
            at=time.time(),
            pid=os.getpid(),
            host=os.uname().nodename,
        )


def _leaves_open(response: HttpResponse) -> bool:
    """Return whether an earlier request may have brought a grant in spite of this answer.

    A code that was used may have been used by that request. While the person has not entered the
    code yet (RFC 8628, 3.5), no earlier request can have brought anything.
    """
    if response.status == TOO_MANY or response.status >= SERVER_ERROR:
        return True
    return (read_members(response.body) or {}).get("error") in _SPENT


def _cut_off(locked: LockedGrant) -> Intent | None:
    found = locked.state.earlier_intent
    return found if found is not None and found.kind == "refresh" else None
