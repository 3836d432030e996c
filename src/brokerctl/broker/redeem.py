"""Gets a new access token from the issuer while the grant's lock is held: the cold road.

Order of events, each durable before the next: intent, request, answer, grant and slot, record.
A refresh token is sent again only where an intent says that an earlier holder may have been
killed between sending and storing. Signals other than SIGKILL wait for that step, and for no
program that is asked for a secret before it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from brokerctl.broker.answers import ends_soon, find_end, make_token, rotates
from brokerctl.broker.events import event, record_fields
from brokerctl.broker.grant_exchange import GrantExchange
from brokerctl.broker.issuer import shown
from brokerctl.broker.known_issuers import FROM_NOW_ON, KnownIssuers
from brokerctl.broker.obtain import next_failure
from brokerctl.broker.sources import ExchangeSources, refuse_other_job
from brokerctl.broker.unanswered_requests import (
    LIVED_ON,
    Watched,
    explain_earlier,
    make_intent,
    queue_unanswered,
)
from brokerctl.broker.unheld_tokens import NOT_STORED, UnheldTokens, queue_unasked
from brokerctl.errors import (
    BrokerError,
    IssuerError,
    LockTimeoutError,
    LoginNeededError,
    OAuthError,
    StoreError,
    UnsentError,
    UsageError,
    shell_word,
)
from brokerctl.freshness import timestamp
from brokerctl.oauth import tokens
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.flows.refresh import refresh
from brokerctl.oauth.steps import Identify
from brokerctl.platform.held_signals import signals_wait
from brokerctl.platform.work_clock import work_time
from brokerctl.store.values import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.audit.append import Log
    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.broker.request import DecidedRequest
    from brokerctl.keys.ring import KeyRing
    from brokerctl.model import GrantKey, Profile, Token
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.secret import Secret
    from brokerctl.store.interface import LockedGrant, Store
    from brokerctl.store.values import Intent

_WITH_REFRESH_TOKEN = "a refresh token came with it, which ends with it"
_INVALID_GRANT = "invalid_grant"  # RFC 6749, 5.2; a profile may know its issuer's own words
_CUT_OFF = "a refresh was cut off at {}, between the issuer's answer and our disk"
_NO_ANSWER = "the answer to a refresh at {} was lost on its way here or could not be used or stored"


class Redeemer:
    """Redeems a grant, or runs a flow without a person, and stores what came of it."""

    def __init__(
        self,
        store: Store,
        log: Log,
        ring: KeyRing,
        issuer: IssuerClient,
        tell_end: Callable[[Profile, float], object] = lambda *_: None,
    ) -> None:
        """`tell_end` is told of a grant that ends within a week and that use does not prolong."""
        self.tell_end = tell_end
        self.store = store
        self.log = log
        self.ring = ring
        self.issuer = issuer
        self.known = KnownIssuers(store, ring)
        self._watched = Watched()
        self._exchanged = Watched()  # of an exchange for less than the grant holds
        self._sent: Intent | None = None  # ours, as it stands on disk
        self._told: dict[str, str] = {}  # what a record says of an earlier request

    def __call__(self, decided: DecidedRequest, locked: LockedGrant) -> Token:
        """Return the new token; a failure is stored beside the grant for those who wait."""
        self._watched, self._exchanged, self._sent = Watched(), Watched(), None
        with ExitStack() as held:
            return self._finish(decided, locked) or self._try(decided, locked, held)

    def _try(self, decided: DecidedRequest, locked: LockedGrant, held: ExitStack) -> Token:
        try:
            return self._redeem(decided, locked, held)
        except OAuthError as error:
            raise self._refused(decided, locked, error) from error
        except LockTimeoutError as error:  # of a source: nothing was sent
            _tell_waiters(locked, error)
            raise
        except (IssuerError, UsageError) as error:
            is_unsent = isinstance(error, UnsentError | UsageError) and not self._watched.was_cut
            if locked.state.grant is None:
                queue_unanswered(locked, self.ring, decided.profile, self._watched.unanswered)
            if locked.state.grant is None or is_unsent:
                locked.withdraw()  # no grant could be lost: there is none, or nothing was sent
            else:
                self._note_lost(locked)
            if isinstance(error, IssuerError):  # a profile that is wrong needs no back-off
                self._remember(decided, locked, error)
            raise

    def _finish(self, decided: DecidedRequest, locked: LockedGrant) -> Token | None:
        """Finish an earlier holder's commit; return its token if it answers this request."""
        issued = locked.finish(ends_previous=bool(decided.profile.refresh_ends_previous))
        token = None if issued is None else issued.current
        if issued is None or token is None:
            return None
        fields = {"generation": token.generation, "reason": "finished after an interruption"}
        finished = event("grant.refreshed", record_fields(decided, token), fields)
        self.log.append(*finished, durable=True)
        is_it = issued.key == decided.token_key and decided.serves(token, time.time())
        return token if is_it else None

    def _redeem(self, decided: DecidedRequest, locked: LockedGrant, held: ExitStack) -> Token:
        if decided.grant_key.job is not None:  # before a failure is remembered, so that it is found
            self.store.note_job(decided.grant_key)
        deadline = work_time() + decided.profile.timeout_s
        if decided.request.deadline is not None:
            deadline = min(deadline, decided.request.deadline)
        context = self._context(decided, locked, deadline)
        self._told = explain_earlier(locked)
        ours = (self.log, self.ring, self.issuer)
        exchange = GrantExchange(*ours, decided, locked, context, deadline)
        self._exchanged = exchange.watched
        try:
            token = exchange.find_from_held(self._told, held)
        except StoreError as error:
            _tell_waiters(locked, error)
            raise
        if token is not None:
            return token
        return exchange.narrow_refreshed(self._renew(decided, locked, held, context, deadline))

    def _context(
        self, decided: DecidedRequest, locked: LockedGrant, deadline: float
    ) -> FlowContext:
        decision, grant = decided.decision, locked.state.grant
        return self.issuer.context(
            decided.profile,
            deadline,
            *(decision.scopes, decision.resource, decision.audience),
            is_refresh=grant is not None and grant.refresh_token is not None,
            key=decided.grant_key,
        )

    def _renew(
        self,
        decided: DecidedRequest,
        locked: LockedGrant,
        held: ExitStack,
        context: FlowContext,
        deadline: float,
    ) -> Token:
        """Refresh the grant, or run the flow of a client without one, and store what comes."""
        grant, profile = locked.state.grant, decided.profile
        failed = locked.state.failure or locked.state.earlier_intent
        sources = ExchangeSources(decided, self.issuer, deadline, needs_new=failed is not None)

        def ask(context: FlowContext) -> TokenAnswer:
            # While the answer is on its way, the signals that can wait do.
            held.enter_context(signals_wait())
            return self._send(decided, locked, context, deadline)

        def may_ask_again() -> bool:
            if self._watched.was_cut:
                return False
            locked.withdraw()  # an answer: nothing was redeemed by us
            held.close()  # a source may take its time, or run a program
            return True

        try:
            answer = sources.exchange(context, ask, may_ask_again)
        except tokens.UnusableAnswerError as error:
            if not self._keep_rotated(decided, locked, error.refresh_token, deadline):
                self._unheld(decided, locked, deadline).end_unusable(error)
                raise
            message = f"{error.message}; the refresh token that came with it is kept"
            raise IssuerError(message) from error
        if grant is not None and rotates(answer, grant):
            locked.persist(deadline)  # the successor is in our memory and nowhere else
        try:
            token = self._store(decided, locked, answer)
        except StoreError as error:
            told = self._not_stored(decided, locked, answer, error, deadline)
            _tell_waiters(locked, told)
            raise told from error
        sources.learn()
        self.known.bind(profile, decided.grant_key, time.time())
        self._remove_ended_jobs(decided.grant_key)
        return token

    def _send(
        self, decided: DecidedRequest, locked: LockedGrant, context: FlowContext, deadline: float
    ) -> TokenAnswer:
        """Write the intent, then send."""
        grant, profile = locked.state.grant, decided.profile
        refresh_token = grant.refresh_token if grant else None
        self._sent = make_intent(self.ring, decided, grant)
        locked.intend(self._sent)
        steps = (
            refresh(context, refresh_token, grant.scopes)
            if grant is not None and refresh_token is not None
            else find_flow(profile.flow).obtain(context)
        )

        def check(step: object, found: Any) -> None:  # noqa: ANN401 - what that step is answered with
            if isinstance(step, Identify):
                refuse_other_job(decided, found)

        watched = self._watched.run(steps, check)
        answer: TokenAnswer = self.issuer.run(profile, watched, deadline)
        return answer

    def _remove_ended_jobs(self, key: GrantKey) -> None:
        """What ended jobs left goes with the next job's exchange, or with `status`."""
        try:
            if key.job is not None:
                self.store.remove_ended_jobs(key, time.time())
        except StoreError:
            return  # the next one tries again; the token at hand is good

    def _store(self, decided: DecidedRequest, locked: LockedGrant, answer: TokenAnswer) -> Token:
        """Store the grant first, also where the access token is no use: it may have rotated."""
        old, earlier = locked.state.grant, locked.state.earlier_intent
        lost = self._told
        grant, generation, more = None, 0, {}
        if old is not None:
            generation = locked.next_generation
            grant = old.replace(
                refresh_token=answer.refresh_token or old.refresh_token,
                id_token=answer.id_token or old.id_token,
                ends_at=find_end(answer, old),
            )
        else:
            is_asked = not queue_unasked(locked, self.ring, answer, decided.profile.name)
            more = {} if is_asked else {"reason": _WITH_REFRESH_TOKEN}
        token = make_token(self.ring, decided, answer, generation=generation)
        is_over = answer.expires_in == 0
        locked.commit(
            Change(
                grant=grant,
                token_key=None if is_over else decided.token_key,
                token=None if is_over else token,
                profile=decided.profile.name,
                ends_previous=bool(decided.profile.refresh_ends_previous),
            )
        )
        name = "grant.refreshed" if grant else "token.issued"
        fields = {"generation": generation} | more | lost
        self.log.append(*event(name, record_fields(decided, token), fields), durable=True)
        if grant is None:
            asked_at = [*self._watched.unanswered, *([earlier.at] if lost and earlier else [])]
            queue_unanswered(locked, self.ring, decided.profile, asked_at, answer.expires_in)
        if old is not None and grant is not None and ends_soon(old, grant, answer.sent_at):
            self.tell_end(decided.profile, grant.ends_at or 0)
        if is_over:
            raise IssuerError(f"the issuer of '{decided.profile.name}' sent a token that is over")
        return token

    def _keep_rotated(
        self,
        decided: DecidedRequest,
        locked: LockedGrant,
        refresh_token: Secret | None,
        deadline: float,
    ) -> bool:
        """Store the new refresh token of an answer that can't be used; False: it has none."""
        grant = locked.state.grant
        if grant is None or refresh_token is None or refresh_token == grant.refresh_token:
            return False
        generation = locked.next_generation
        locked.persist(deadline)
        try:
            locked.commit(Change(grant=grant.replace(refresh_token=refresh_token, ends_at=None)))
        except StoreError as error:
            raise _grant_lost(decided.profile.name, error) from error
        fields = {"generation": generation, "outcome": "unusable"}
        rotated = event("grant.refreshed", record_fields(decided), fields)
        self.log.append(*rotated, durable=True)
        return True

    def _note_lost(self, locked: LockedGrant) -> None:
        """Note with the intent that we lived on: no crash explains what became of the answer."""
        if self._sent is None or locked.state.intent != self._sent:
            return
        try:
            locked.intend(self._sent.replace(pid=LIVED_ON))
        except StoreError:
            return  # it stays as it is, and the issuer's error is the one to tell

    def _unheld(
        self, decided: DecidedRequest, locked: LockedGrant, deadline: float
    ) -> UnheldTokens:
        return UnheldTokens(self.log, self.ring, self.issuer, decided, locked, deadline)

    def _not_stored(
        self,
        decided: DecidedRequest,
        locked: LockedGrant,
        answer: TokenAnswer,
        error: StoreError,
        deadline: float,
    ) -> StoreError:
        """Revoke or queue what the disk did not take, and return the error to raise."""
        grant, held = None, None
        token = make_token(self.ring, decided, answer, generation=0)
        try:
            grant = self.store.find_grant(decided.grant_key)
            held = self.store.find_token(decided.token_key, time.time(), 0)
        except StoreError:
            pass  # what can't be read either is told as not stored
        issued = grant.issued.current if grant and grant.issued else None
        if token.fingerprint not in [one.fingerprint for one in (held, issued) if one]:
            self._unheld(decided, locked, deadline).end(answer, NOT_STORED)
        if decided.grant_key.actor == "client" or not rotates(answer, grant):
            return error
        self._note_lost(locked)
        return _grant_lost(decided.profile.name, error)

    def _refused(
        self, decided: DecidedRequest, locked: LockedGrant, error: OAuthError
    ) -> BrokerError:
        """Only an end, of a stored refresh token, ends a grant; all else is a failure."""
        grant, name = locked.state.grant, decided.profile.name
        is_end = error.error in {_INVALID_GRANT, *decided.profile.grant_ended_errors}
        if not is_end or grant is None or grant.refresh_token is None:
            if not self._watched.was_cut or grant is None:
                locked.withdraw()  # an answer: nothing was redeemed by us
            refusal = shown(name, error)
            if refusal.hint is None and grant is not None and grant.refresh_token is not None:
                refusal.hint = f"if it stays so, run 'brokerctl login {shell_word(name)}'"
            self._remember(decided, locked, refusal)
            return refusal
        why = f"the issuer no longer honours it ({error.error})"
        intent = locked.state.intent if self._watched.was_cut else locked.state.earlier_intent
        is_refresh = intent is not None and intent.kind == "refresh"
        if intent is not None and is_refresh and intent.generation == grant.generation:
            is_crash = intent.pid != LIVED_ON and not self._watched.was_cut
            why = (_CUT_OFF if is_crash else _NO_ANSWER).format(timestamp(intent.at))
        after = self.known.explain_end(
            decided.profile, decided.grant_key, grant.generation, time.time()
        )
        why += after
        locked.end(grant.generation, why)
        ended = event("grant.ended", record_fields(decided), outcome="ended", reason=why)
        self.log.append(*ended, durable=True)
        return LoginNeededError(
            f"the grant for '{name}' has ended: {why}",
            hint=f"run 'brokerctl login {shell_word(name)}'"
            + (f". {FROM_NOW_ON}" if after else ""),
        )

    def _remember(self, decided: DecidedRequest, locked: LockedGrant, error: BrokerError) -> None:
        failure = next_failure(locked.state.failure, time.time(), error)
        try:
            locked.record_failure(failure)
        except StoreError:
            pass  # waiters will try for themselves; the issuer's error is the one to tell
        fields = {"outcome": error.name, "error": error.message}
        if self._watched.unanswered or self._exchanged.unanswered:
            fields["reason"] = "no answer came: a token of it may be alive until it expires"
        self.log.append(*event("grant.refresh_failed", record_fields(decided), fields))


def _grant_lost(name: str, error: StoreError) -> StoreError:
    return StoreError(
        f"the new grant for '{name}' is lost, it could not be stored: {error.message}",
        hint=f"the issuer has replaced the one before: mend that, "
        f"then run 'brokerctl login {shell_word(name)}'",
    )


def _tell_waiters(locked: LockedGrant, error: BrokerError) -> None:
    """Store the error for the processes that wait; one that comes later may try at once."""
    now = time.time()
    try:
        locked.record_failure(next_failure(locked.state.failure, now, error).replace(retry_at=now))
    except StoreError:
        return  # the same disk is full
