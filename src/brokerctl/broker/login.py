"""Obtains a grant from a person's consent and stores it: the way of a login, top to bottom.

The person takes minutes and holds no lock; the grant's lock, a durable intent and blocked signals
cover only the token request and the storing of its answer. What was there before is revoked after
the new grant is stored, never before.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress

from brokerctl import policy
from brokerctl.broker.answers import find_end, make_token
from brokerctl.broker.asking import asking_first, settle_login
from brokerctl.broker.events import append_refusal, event, record_fields
from brokerctl.broker.locked_login import LockedLogin
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.replaced_grant import Replaced, drop_queued
from brokerctl.broker.request import DecidedRequest, broader_text
from brokerctl.broker.revoke import Revoker
from brokerctl.broker.unanswered_requests import queue_login
from brokerctl.broker.unheld_tokens import as_queued, items_of, unusable_items
from brokerctl.errors import (
    BrokerError,
    DeniedError,
    LockTimeoutError,
    LoginNeededError,
    StoreError,
    shell_word,
)
from brokerctl.freshness import LOCK_WAIT_S
from brokerctl.model import REVOKED, SUPERSEDED, Value
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.tokens import UnusableAnswerError
from brokerctl.platform.work_clock import work_time
from brokerctl.store.slots import queue_item
from brokerctl.store.values import Change, Grant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.audit.append import Log
    from brokerctl.broker import Broker
    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.broker.locked_login import Interaction
    from brokerctl.broker.revoke import Ending
    from brokerctl.identity import Job
    from brokerctl.keys.ring import KeyRing
    from brokerctl.model import Profile, Token, TokenRequest
    from brokerctl.oauth.steps import Steps
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.store.interface import LockedGrant, Store

    Run = Callable[[Steps, Interaction], TokenAnswer]
    FindRules = Callable[[Profile | None, TokenRequest, Job | None], policy.Rules | None]
    Doubt = Callable[[str | None], Callable[[], bool] | None]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class LoggedIn(Value):
    """What came of a login: nothing in it is secret."""

    profile: str
    issuer: str
    subject: str | None
    sub: str | None  # whom the issuer says it was, unverified
    scopes: tuple[str, ...]
    missing: tuple[str, ...]  # asked for and not granted
    broader: str  # what to say of scopes that were granted beyond those asked for
    is_assumed: bool  # the issuer named no lifetime of the first access token
    expires_at: float | None  # of the first access token
    can_refresh: bool
    endings: tuple[Ending, ...] = ()  # of the grant that was there before
    claims: str | None = None  # what was proven of the job whose identity was exchanged, JSON
    issued_type: str | None = None  # RFC 8693's


class Login:
    """Logs in with one store, log and keys; `run` and `interaction` are the outside world."""

    def __init__(
        self,
        store: Store,
        log: Log,
        ring: KeyRing,
        issuer: IssuerClient,
        doubt: Doubt = lambda _: None,
        find_rules: FindRules = lambda *_: None,
        broker: Broker | None = None,  # None: nobody is asked where a rule asks
    ) -> None:
        """`doubt` returns the question to ask where a login may be another user's, by its `sub`."""
        self.doubt, self.find_rules = doubt, find_rules  # as `Surroundings` has it
        self.store, self.log, self.ring, self.issuer, self.broker = store, log, ring, issuer, broker

    def log_in(
        self,
        profile: Profile,
        request: TokenRequest,
        run: Run,
        interaction: Interaction,
        *,
        owner: str | None = None,
        is_forced: bool = False,
        job: Job | None = None,
    ) -> LoggedIn:
        """Obtain and store a grant; `is_forced` accepts another `sub` than the last login's.

        Raises DeniedError, LoginNeededError, IssuerError, StoreError, AuditError; whatever was
        stored before is untouched then.
        """
        rules = self.find_rules(profile, request, job)
        decision = policy.decide(profile, request, job=job, rules=rules)
        decided = DecidedRequest(profile, request, decision, job)
        try:
            settle_login(self.broker, decided)
            issuer = self.issuer.for_login(profile, work_time() + profile.timeout_s)
            attempt = _Attempt(self.store, self.log, self.ring, issuer, decided)
            if not profile.traits.needs_person:
                return asking_first(self.broker, attempt.without_person)
            return attempt.with_person(
                run, interaction, self.doubt, owner=owner, is_forced=is_forced
            )
        except BrokerError as error:
            append_refusal(self.log, "login.refused", record_fields(decided), error)
            raise


class _Attempt:
    """One login: its issuer has just been asked for its metadata."""

    def __init__(
        self, store: Store, log: Log, ring: KeyRing, issuer: IssuerClient, decided: DecidedRequest
    ) -> None:
        self.store = store
        self.log = log
        self.ring = ring
        self.issuer = issuer
        self.decided = decided

    def _pin(self) -> None:
        self.issuer.known.pin(self.decided.profile, self.decided.grant_key, time.time())

    def _replaced(self) -> Replaced:
        return Replaced(self.store, self.log, self.ring, self.issuer, self.decided)

    def without_person(self) -> LoggedIn:
        """Show that the client's own credentials work; the token is kept for the next request."""
        key = self.decided.grant_key
        redeem = Redeemer(self.store, self.log, self.ring, self.issuer)
        with self.store.lock_grant(key, work_time() + LOCK_WAIT_S) as locked:
            token = redeem(self.decided, locked)
        self._pin()
        return _logged_in(self.decided, token, sub=None, can_refresh=True)

    def with_person(
        self,
        run: Run,
        interaction: Interaction,
        doubt: Doubt,
        *,
        owner: str | None,
        is_forced: bool,
    ) -> LoggedIn:
        """Obtain a person's consent and store the grant that comes of it."""
        profile, decision, key = self.decided.profile, self.decided.decision, self.decided.grant_key
        deadline = work_time() + profile.timeout_s
        asked = (decision.scopes, decision.resource, decision.audience)
        context = self.issuer.context(profile, deadline, *asked)
        steps = find_flow(profile.flow).obtain(context)
        with LockedLogin(
            interaction,
            self.store,
            self.ring,
            key,
            context.metadata.token_endpoint,
            profile.name,
        ) as login:
            try:
                answer = run(steps, login)
            except UnusableAnswerError as error:
                raise self._queue_unusable(login, error) from error
            except (BrokerError, KeyboardInterrupt) as error:
                self._queue_unanswered(login, error)
                raise
            locked = login.hold()
            token = None
            is_other = self._is_other(locked, answer) and not is_forced
            if is_other or not self._is_wanted(locked, answer, doubt):
                self._queue_answer(locked, answer)
                login.withdraw()  # not before: a kill in between must leave one of them
            else:
                token = self._store_or_give_back(locked, answer, owner)
                drop_queued(self.ring, locked, answer)
        revoker = Revoker(self.store, self.log, self.ring, self.issuer)
        if token is None:
            is_dead = all(one.is_dead for one in revoker.retry(profile, key))
            raise _not_kept(profile.name, is_other=is_other, is_dead=is_dead)
        endings = tuple(revoker.retry(profile, key))
        if endings and token.generation:
            self._refuse_ended(token)
        can_refresh = answer.refresh_token is not None
        return _logged_in(
            self.decided, token, answer.id_sub, can_refresh=can_refresh, endings=endings
        )

    @staticmethod
    def _is_other(locked: LockedGrant, answer: TokenAnswer) -> bool:
        old = locked.state.grant
        if old is None or old.sub is None or answer.id_sub is None:
            return False
        return old.sub != answer.id_sub

    def _is_wanted(self, locked: LockedGrant, answer: TokenAnswer, doubt: Doubt) -> bool:
        """Ask whether to keep the new grant, where nothing says that it is the right person's.

        What the issuer gave is queued for revocation first: whatever ends the question, nobody's
        tokens stay alive and unheld. The signals that are held back may end it.
        """
        old = locked.state.grant
        if old is not None and old.sub is not None and old.sub == answer.id_sub:
            return True  # the same person as before; with --force it may be another one
        ask = doubt(answer.id_sub)
        if ask is None:
            return True
        self._queue_answer(locked, answer)
        before = signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        try:
            return ask()
        except KeyboardInterrupt:
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _store_or_give_back(
        self, locked: LockedGrant, answer: TokenAnswer, owner: str | None
    ) -> Token:
        """Store the answer; where that fails half-way, leave no authority that nobody holds."""
        old = locked.state.grant
        locked.persist(work_time() + self.decided.profile.timeout_s)
        try:
            self._pin()
            return self._store(locked, answer, owner)
        except BrokerError:
            self._replaced().give_back(locked, old, answer)
            raise

    def _store(self, locked: LockedGrant, answer: TokenAnswer, owner: str | None) -> Token:
        old, profile = locked.state.grant, self.decided.profile
        generation = locked.next_generation
        token = make_token(self.ring, self.decided, answer, generation)
        is_grant = answer.refresh_token is None and answer.expires_in is None
        if is_grant and profile.lifetime_s is None:
            token = token.replace(expires_at=None)  # GitHub OAuth Apps: the token is the grant
        grant = Grant(
            key=self.decided.grant_key,
            profile=profile.name,
            flow=profile.flow,
            generation=generation,
            obtained_at=time.time(),
            refresh_token=answer.refresh_token,
            id_token=answer.id_token,
            scopes=answer.scopes,
            sub=answer.id_sub or (old.sub if old else None),
            owner=profile.owner or owner,
            ends_at=find_end(answer),
        )
        is_over = answer.expires_in == 0
        # Queued before the commit: a crash in between must not leave it alive and held nowhere.
        # Until the commit it is the grant on disk, which the queue never revokes.
        is_replaced = old is not None and old.refresh_token != grant.refresh_token
        if old is not None and old.refresh_token is not None and is_replaced:
            item = queue_item(self.ring, old.refresh_token, "refresh_token", time.time())
            locked.enqueue(item)
        locked.commit(
            Change(
                grant=grant,
                token_key=None if is_over else self.decided.token_key,
                token=None if is_over else token,
                profile=profile.name,
                replaces=is_replaced,
            )
        )
        about = {"generation": generation, "sub": grant.sub, "owner": grant.owner}
        obtained = event("grant.obtained", record_fields(self.decided, token), about)
        self.log.append(*obtained, durable=True)
        self._replaced().queue_old(locked, old, grant)
        return token

    def _refuse_ended(self, token: Token) -> None:
        """Raise LoginNeededError where the issuer ended the new grant with the one before it.

        An issuer that remembers a person's consent (oidc-provider does) may end both with it.
        """
        profile, key, name = self.decided.profile, self.decided.grant_key, self.decided.profile.name
        deadline = work_time() + profile.timeout_s
        try:
            is_active = self.issuer.introspect(profile, token.value, "access_token", deadline, key)
        except BrokerError:
            return  # not known, as where there is no introspection
        if is_active is not False:
            return
        why = "the issuer ended it together with the grant before it"
        with self.store.lock_grant(key, work_time() + LOCK_WAIT_S) as locked:
            locked.settle(token.fingerprint, REVOKED)
            locked.end(token.generation, why)
        ended = event("grant.ended", record_fields(self.decided), reason=why)
        self.log.append(*ended, durable=True)
        raise LoginNeededError(
            f"the new grant for '{name}' is dead: {why}",
            hint=f"run 'brokerctl login {shell_word(name)}' again",
        )

    def _queue_unusable(
        self, login: LockedLogin, error: UnusableAnswerError
    ) -> UnusableAnswerError:
        """Queue what came with an answer that is no use otherwise: nobody would hold it."""
        # Where a grant is held, an access token lives on if to revoke it could end that one.
        items = unusable_items(self.ring, error, SUPERSEDED)
        if items:
            locked = login.hold()
            try:
                locked.enqueue(*items, profile=self.decided.profile.name)
            except BrokerError:
                if error.issued is not None:
                    self._replaced().give_back(locked, locked.state.grant, error.issued)
                raise
        return as_queued(error)

    def _queue_unanswered(self, login: LockedLogin, error: BrokerError | KeyboardInterrupt) -> None:
        """Queue the grant that may have come of a request without an answer: nobody holds it."""
        if login.unanswered_at is None:
            return
        if isinstance(error, BrokerError):
            error.message += "; the issuer may have made a grant, and nobody holds it"
        with suppress(StoreError, LockTimeoutError):  # the error at hand says it
            queue_login(login.hold(), self.ring, self.decided.profile, login.unanswered_at)

    def _queue_answer(self, locked: LockedGrant, answer: TokenAnswer) -> None:
        """Queue all that an answer holds; what the disk does not take is in the record at least."""
        try:
            locked.enqueue(*items_of(self.ring, answer), profile=self.decided.profile.name)
        except BrokerError:
            self._replaced().give_back(locked, locked.state.grant, answer)
            raise


def _not_kept(name: str, *, is_other: bool, is_dead: bool) -> DeniedError:
    """Return why a login's grant was not kept, and what became of it."""
    end = "revoked" if is_dead else "not kept, and the issuer could not be made to end it"
    if not is_other:
        return DeniedError(
            f"the login to '{name}' was not wanted; the new grant is {end}",
            hint=f"run 'brokerctl login {shell_word(name)}' again",
            rule="wanted",
        )
    return DeniedError(
        f"'{name}' was logged in as somebody else before; the new grant is {end}",
        hint=f"run 'brokerctl login {shell_word(name)} --force', or use --subject",
        rule="same subject",
    )


def _logged_in(
    decided: DecidedRequest,
    token: Token,
    sub: str | None,
    *,
    can_refresh: bool,
    endings: tuple[Ending, ...] = (),
) -> LoggedIn:
    return LoggedIn(
        profile=decided.profile.name,
        issuer=decided.profile.issuer,
        subject=decided.grant_key.subject,
        sub=sub,
        scopes=token.scopes,
        missing=_missing(decided.decision.scopes, token.scopes, can_refresh=can_refresh),
        broader=broader_text(decided, token.scopes),
        is_assumed=token.is_assumed and token.expires_at is not None,
        expires_at=token.expires_at,
        can_refresh=can_refresh,
        endings=endings,
        claims=token.claims,
        issued_type=token.issued_type,
    )


def _missing(
    asked: tuple[str, ...], granted: tuple[str, ...], *, can_refresh: bool
) -> tuple[str, ...]:
    """Return what was not granted; many issuers leave the words of OpenID out of their answer.

    Whether `offline_access` was granted, the refresh token shows.
    """
    plain = policy.NO_DIFFERENCE if can_refresh else policy.NO_DIFFERENCE - {"offline_access"}
    return tuple(scope for scope in asked if scope not in granted and scope not in plain)
