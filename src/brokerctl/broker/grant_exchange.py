"""Less than a person's grant holds, by an exchange of its access token (RFC 8693).

The first way to meet a narrowed request, where the issuer says that it knows the grant type: no
refresh token is spent, and nobody's access token ends. It is taken while the profile's own token is
at hand. Where none is, a refresh with fewer scopes is one request in place of two; if the issuer
answers that with more than was asked for, that very answer is exchanged.

What comes of an exchange may outlive the grant, since nobody says that it ends with it: it lies in
a slot of the grant like any other token, and a request without an answer is queued.
"""

from __future__ import annotations

import time

from brokerctl import freshness
from brokerctl.broker.answers import make_token
from brokerctl.broker.events import event, record_fields
from brokerctl.broker.request import find_broader
from brokerctl.broker.unanswered_requests import (
    EXCHANGE,
    Watched,
    make_intent,
    queue_cut_off,
    queue_unanswered,
)
from brokerctl.broker.unheld_tokens import NOT_STORED, UNASKED, UNUSABLE, queue_until_end
from brokerctl.errors import IssuerError, StoreError, UnsentError
from brokerctl.model import TokenKey
from brokerctl.oauth.flows.sources import TOKEN_EXCHANGE
from brokerctl.oauth.flows.token_exchange import ExchangeRefusedError, narrow
from brokerctl.oauth.tokens import UnusableAnswerError
from brokerctl.platform.held_signals import signals_wait
from brokerctl.store.values import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import Any

    from brokerctl.audit.append import Log
    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.broker.request import DecidedRequest
    from brokerctl.keys.ring import KeyRing
    from brokerctl.model import Token
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.store.interface import LockedGrant


class GrantExchange:
    """Exchanges access tokens of one person's grant for one request, under the grant's lock."""

    __slots__ = (
        *("_context", "_deadline", "_decided", "_has_tried", "_issuer", "_locked", "_log"),
        *("_ring", "_refused", "_told", "watched"),
    )

    def __init__(
        self,
        log: Log,
        ring: KeyRing,
        issuer: IssuerClient,
        decided: DecidedRequest,
        locked: LockedGrant,
        context: FlowContext,
        deadline: float,
    ) -> None:
        self._log = log
        self._ring = ring
        self._issuer = issuer
        self._decided = decided
        self._locked = locked
        self._context = context
        self._deadline = deadline
        self._has_tried = False
        self._told: dict[str, str] = {}
        self._refused: ExchangeRefusedError | None = None
        self.watched = Watched()

    def find_from_held(self, told: dict[str, str], held: ExitStack) -> Token | None:
        """Return a narrower token for the one that the profile's own slot holds.

        None where the next way is to be taken. Raises IssuerError where the issuer has trouble:
        then the next request takes the next way. `told`: what the record says of an earlier one,
        which is queued first, as before a refresh. `held`: for the signals that wait from here on.
        """
        self._told, grant = told, self._locked.state.grant
        if grant is None or grant.refresh_token is None:
            return None
        held.enter_context(signals_wait())
        queue_cut_off(self._locked, self._ring)
        subject = self._find_subject() if self._may_exchange() else None
        return None if subject is None else self._exchange(subject)

    def narrow_refreshed(self, token: Token) -> Token:
        """Return the token of a refresh, exchanged where it holds more than was asked for.

        It is stored already, so that an exchange in vain costs nothing. A refusal counts from here
        on: the grant is alive, so that it was not its end which was behind it.
        """
        self._learn_refusal()
        if not self._is_broader(token.scopes) or not self._may_exchange():
            return token
        try:
            narrower = self._exchange(token)
        except (IssuerError, StoreError):
            return token
        self._learn_refusal()
        return narrower or token

    def _may_exchange(self) -> bool:
        profile, decision, state = self._decided.profile, self._decided.decision, self._locked.state
        if self._has_tried or not profile.traits.needs_person or state.grant is None:
            return False
        own = (profile.scopes, profile.resource, profile.audience)
        if (decision.scopes, decision.resource, decision.audience) == own:
            return False
        if TOKEN_EXCHANGE not in (self._context.metadata.grant_types_supported or ()):
            return False
        if state.earlier_intent is not None:
            return False  # a refresh was cut off: only another one tells what became of the grant
        return not self._issuer.known.is_exchange_refused(self._decided.token_key, time.time())

    def _find_subject(self) -> Token | None:
        """Return the profile's own access token, if it has as much time left as is asked for."""
        profile = self._decided.profile
        key = TokenKey(
            grant=self._decided.grant_key,
            scopes=profile.scopes,
            resource=profile.resource,
            audience=profile.audience,
            extra=profile.extra,
        )
        now, slots = time.time(), self._locked.state.slots
        held = next((one.current for one in slots if one.key == key), None)
        if held is None or not freshness.is_fresh(held, now, None, self._decided.min_ttl_s(held)):
            return None
        return held

    def _exchange(self, subject: Token) -> Token | None:
        self._has_tried = True
        intent = make_intent(self._ring, self._decided, self._locked.state.grant)
        self._locked.intend(intent.replace(kind=EXCHANGE, fingerprint=None))
        answer = self._ask(subject)
        if answer is None:
            self._queue_unanswered()
            self._locked.withdraw()
            return None
        token = self._keep(answer)
        if not self._is_broader(token.scopes):
            return token
        self._learn(is_of_client=False)  # it does not narrow: it stays in its slot for `revoke`
        return None

    def _ask(self, subject: Token) -> TokenAnswer | None:
        """Return what came of the exchange; None where it is no use, which is noted."""
        profile = self._decided.profile
        steps = self.watched.run(narrow(self._context, subject.value))
        try:
            answer: TokenAnswer = self._issuer.run(profile, steps, self._deadline)
        except ExchangeRefusedError as error:
            self._refused = error
            return None
        except UnusableAnswerError as error:
            if error.issued is not None:
                self._hold_until_end(error.issued, UNUSABLE)
        except IssuerError as error:
            self._queue_unanswered()
            if not isinstance(error, UnsentError):
                self._learn(is_of_client=False)
            self._locked.withdraw()
            raise
        else:
            self._hold_companion(answer)
            if answer.access_token != subject.value and answer.expires_in != 0:
                return answer
        self._learn(is_of_client=False)
        return None

    def _learn_refusal(self) -> None:
        if self._refused is not None:
            self._learn(is_of_client=self._refused.is_of_client)
            self._refused = None

    def _learn(self, *, is_of_client: bool) -> None:
        key, now = self._decided.token_key, time.time()
        self._issuer.known.note_refused_exchange(key, now, is_of_client=is_of_client)

    def _keep(self, answer: TokenAnswer) -> Token:
        """Store the token with the generation of its grant, and record it."""
        grant, decided = self._locked.state.grant, self._decided
        assert grant is not None  # noqa: S101 - `_may_exchange` has looked
        token = make_token(self._ring, decided, answer, generation=grant.generation)
        change = Change(token_key=decided.token_key, token=token, profile=decided.profile.name)
        try:
            self._locked.commit(change)
        except StoreError:
            self._hold_until_end(answer, NOT_STORED)
            raise
        self._queue_unanswered(answer.expires_in)
        fields: dict[str, Any] = {"generation": grant.generation} | self._told
        issued = event("token.issued", record_fields(decided, token), fields)
        self._log.append(*issued, durable=True)
        return token

    def _hold_companion(self, answer: TokenAnswer) -> None:
        """Queue the refresh token of an answer: it is another long-lived authority, and not less.

        An issuer that gives one although an access token was asked for is not asked so again.
        """
        grant, given = self._locked.state.grant, answer.refresh_token
        if given is None or (grant is not None and given == grant.refresh_token):
            return
        self._learn(is_of_client=True)
        self._hold_until_end(answer, UNASKED, is_companion=True)

    def _queue_unanswered(self, lifetime_s: int | None = None) -> None:
        asked_at = self.watched.unanswered
        queue_unanswered(self._locked, self._ring, self._decided.profile, asked_at, lifetime_s)

    def _hold_until_end(self, answer: TokenAnswer, why: str, *, is_companion: bool = False) -> None:
        place = (self._locked, self._log, self._ring, self._decided)
        queue_until_end(*place, answer, why, is_companion=is_companion)

    def _is_broader(self, granted: tuple[str, ...]) -> bool:
        return bool(find_broader(self._decided, granted))
