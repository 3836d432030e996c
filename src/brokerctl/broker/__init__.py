"""The way of a request, to be read from top to bottom: decide, find or obtain, record.

This file has what a warm hand-out needs. A request whose token is not in the store (it waits for
another process, its grant is dead, its issuer is down) goes on in `obtain`, which is as light.
`redeem` is an argument: only the process that must talk to the issuer imports it.
"""

from __future__ import annotations

import time

from brokerctl import freshness, policy
from brokerctl.broker.events import append_refusal, event, record_fields, undecided_fields
from brokerctl.broker.request import (
    Alone,
    AskFirst,
    DecidedRequest,
    broader_text,
    decide,
    denied,
    refuse_circle,
)
from brokerctl.errors import BrokerError, DeniedError, UsageError, shell_word
from brokerctl.model import AccessToken, size_of
from brokerctl.platform.import_finder import load_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.audit.append import Log
    from brokerctl.broker.request import Approver, AskingSurroundings, Redeem
    from brokerctl.config.plan import Plan
    from brokerctl.model import Token, TokenRequest
    from brokerctl.store.interface import Store
    from brokerctl.store.values import LimitCount


_MOST_NOTED = 4096


class Broker:
    """Hands out access tokens: the one way in and the one way out."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        log: Log,
        redeem: Redeem,
        within: tuple[str, ...] = (),
        around: AskingSurroundings | None = None,
    ) -> None:
        """`around` is None where no token is a job's and there are no rules."""
        self.plan = plan
        self.around = Alone(store) if around is None else around
        self.store = store
        self.log = log
        self._redeem = redeem
        self.within = within  # the profiles that are being asked for, by our parents and by us
        self.asks_here = False  # whether a person at this terminal may be asked: not for a helper
        self._approval: Approver | None = None
        # What was answered for the requests that are made under the lock of the one at hand.
        self.answered: dict[str, tuple[tuple[str, Any], ...]] = {}
        self.noted: set[tuple[object, ...]] | None = (
            None  # uses that a gateway need not record again
        )
        self.counts: dict[tuple[str, str], LimitCount] = {}  # of a session, by layer and rule

    def get(self, request: TokenRequest) -> AccessToken:
        """Return one short-lived access token, decided and recorded.

        Raises the class of the exit code: DeniedError, LoginNeededError, IssuerError, StoreError,
        AuditError, LockTimeoutError or UsageError; a refusal is recorded too.
        """
        decided = self.decide(request)
        try:
            refuse_circle(self.within, decided.profile.name)
            _refuse_own(decided)
            token, source = self._find_or_redeem(decided)
            _refuse_broader(decided, token)
        except BrokerError as error:
            if decided.decision.limits or decided.decision.approval:
                from brokerctl.broker.asking import give_back  # noqa: PLC0415 - few rules ask or count

                give_back(self, decided)
            self.record_refusal(decided, error)
            raise
        return self._hand_out(decided, token, source)

    def decide(self, request: TokenRequest) -> DecidedRequest:
        """Return a request that was allowed; a refusal is recorded, then raised as `get` does."""
        try:
            decided = self.find_decision(request)
        except BrokerError as unknown:
            self.record_refusal(request, unknown)
            raise
        decision = decided.decision
        if decision.effect == "deny":
            error = denied(decided)
            self.record_refusal(decided, error)
            raise error
        if decision.effect == "ask" or decision.limits:
            from brokerctl.broker.asking import settle  # noqa: PLC0415 - few rules ask or count

            settle(self, decided)
        return decided

    def find_decision(self, request: TokenRequest) -> DecidedRequest:
        """Return a request with its decision, whatever that is; nothing is recorded."""
        return decide(self.plan, request, self.around)

    def check(self, request: TokenRequest) -> None:
        """Raise what `get` would, as far as it is known without asking the issuer.

        Nothing is handed out, so nothing is recorded.
        """
        decided = self.find_decision(request)
        if decided.decision.effect == "deny" or not self._has_answer(decided):
            raise denied(decided)
        store = self.store_for(decided)
        held = decided.find_in(store)
        if held is not None and decided.serves(held, time.time()):
            _refuse_broader(decided, held)
            return
        from brokerctl.broker.obtain import Obtaining  # noqa: PLC0415 - as below

        Obtaining(store, self._redeem, decided).check()

    def holds(self, request: TokenRequest) -> bool:
        """Return whether the store has a token that serves a request; nothing is handed out."""
        decided = self.find_decision(request)
        held = decided.find_in(self.store_for(decided))
        return held is not None and decided.serves(held, time.time())

    def store_for(self, decided: DecidedRequest) -> Store:
        """Return where the token of a request is kept."""
        return self.store if decided.job is None else self.around.store_of(decided.job)

    def approval(self) -> Approver:
        """Return what finds the answers where rules want somebody to be asked."""
        if self._approval is None:
            self._approval = self.around.approval()
        return self._approval

    def _has_answer(self, decided: DecidedRequest) -> bool:
        """Return whether nobody need be asked: no rule asks, or a lease covers it."""
        if decided.decision.effect != "ask":
            return True
        from brokerctl.broker.asking import asked_of  # noqa: PLC0415 - as above

        return self.approval().has_lease(asked_of(decided))

    def _find_or_redeem(self, decided: DecidedRequest) -> tuple[Token, str]:
        store = self.store_for(decided)
        held = decided.find_in(store)
        if held is not None and decided.serves(held, time.time()):
            return held, "cache"
        load_at_once("brokerctl.broker.obtain")
        from brokerctl.broker.obtain import Obtaining  # noqa: PLC0415 - a warm hit obtains nothing

        before, self.within = self.within, (*self.within, decided.profile.name)
        try:
            return Obtaining(store, self._redeem, decided).run()
        except AskFirst as first:
            if decided.request.for_profile is not None:
                raise  # its own request waits for this one, and its lock is held
            from brokerctl.broker.asking import asking_first  # noqa: PLC0415 - as above

            return asking_first(self, lambda: Obtaining(store, self._redeem, decided).run(), first)
        finally:
            self.within = before
            if decided.request.for_profile is None:
                self.answered = {}

    def _hand_out(self, decided: DecidedRequest, token: Token, source: str) -> AccessToken:
        now = time.time()
        until = freshness.expiry(token, decided.decision.max_ttl_s)
        answer = AccessToken(
            value=token.value,
            token_type=token.token_type,
            expires_at=until,
            scopes=token.scopes,
            profile=decided.profile.name,
            issuer=decided.profile.issuer,
            subject=decided.grant_key.subject,
            resource=decided.token_key.resource,
            audience=decided.token_key.audience,
            fingerprint=token.fingerprint,
            source=source,
            warning=_too_short(decided, token, now),
            broader="" if _is_silent(decided) else broader_text(decided, token.scopes),
            is_assumed=token.is_assumed and until is not None,
            renew_at=freshness.renewal(
                token, now, decided.decision.max_ttl_s, decided.min_ttl_s(token)
            ),
            issued_at=token.issued_at,
        )
        if decided.request.sent is None or self.noted is None:
            fields = record_fields(decided, token)
            self.log.append(*event("token.handed_out", fields, outcome=source))
        else:
            self._note_use(decided, token, source)
        return answer

    def _note_use(self, decided: DecidedRequest, token: Token, source: str) -> None:
        """Record a token that a gateway adds to requests: once a minute for each place and rule.

        Each request is decided all the same; how many there were, the gateway records.
        """
        decision, url = decided.decision, decided.request.url or ""
        origin, minute = url.split("/", 3)[:3], int(time.time() // 60)
        which = (decision.effect, decision.rule, decision.layer, decision.digest, minute)
        key = (decided.profile.name, token.fingerprint, *origin, *which)
        if self.noted is None or key in self.noted:
            return
        self.log.append(*event("token.handed_out", record_fields(decided, token), outcome=source))
        if len(self.noted) > _MOST_NOTED:
            self.noted.clear()
        self.noted.add(key)

    def record_refusal(self, asked: DecidedRequest | TokenRequest, error: BrokerError) -> None:
        """Record that a token was refused: the one place that does, also for helpers.

        `asked` is a plain request where it was never decided: no profile was found, or several.
        """
        name = "token.denied" if isinstance(error, DeniedError) else "token.refused"
        fields = (
            record_fields(asked) if isinstance(asked, DecidedRequest) else undecided_fields(asked)
        )
        append_refusal(self.log, name, fields, error)

    def not_delivered(self, answer: AccessToken) -> None:
        """Record that a token could not be written to where it was asked for."""
        self.log.append(
            *event(
                "token.not_delivered",
                profile=answer.profile,
                fingerprint=answer.fingerprint,
                size=size_of(answer.value),
                outcome="failed",
            )
        )


def _refuse_own(decided: DecidedRequest) -> None:
    """Raise UsageError where a token of one's own would end the token that all others use."""
    if decided.request.is_own and decided.profile.refresh_ends_previous:
        name = decided.profile.name
        raise UsageError(
            f"'{name}' has one access token at a time; one for this session would end it",
            hint="use --keep to share it",
        )


def _refuse_broader(decided: DecidedRequest, token: Token) -> None:
    """Raise DeniedError for a token that the decision did not allow: issuers may ignore `scope`.

    The token stays in its slot: `revoke` reaches it there, and the next request is refused without
    asking the issuer again.
    """
    text = broader_text(decided, token.scopes)
    if text and not policy.may_be_broader(decided.profile, decided.decision):
        name, is_asked = decided.profile.name, decided.profile.allow_broader is not None
        edit = f"'brokerctl profile edit {shell_word(name)} --set allow_broader=true'"
        hint = f"if it may, run {edit}"
        raise DeniedError(text, hint=hint, rule="allow_broader" if is_asked else "narrowing")


def _is_silent(decided: DecidedRequest) -> bool:
    """Return whether broader scopes need no warning: they may, and all were asked for anyway."""
    is_narrowed = decided.decision.scopes != decided.profile.scopes
    return bool(decided.profile.allow_broader) and not is_narrowed


def _too_short(decided: DecidedRequest, token: Token, now: float) -> str | None:
    """Return the warning for a token that lives shorter than asked for; None where it does not."""
    wanted = decided.request.min_ttl_s
    end = freshness.expiry(token, decided.decision.max_ttl_s)
    if wanted is not None and end is not None and end - now < wanted:
        return f"the issuer's tokens for '{decided.profile.name}' live shorter than the --min-ttl"
    return None
