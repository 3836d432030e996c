"""The tokens that a flow exchanges: another profile's, a file's, a command's.

A profile's token is asked for like any other: with a decision and a record of its own. Where a
profile asks for a grant that another issuer is to take (identity chaining: a `requested_type` that
is no access token), the grant is made out to the issuer of the profile that wants it, and goes to
nobody else.
"""

from __future__ import annotations

import time
from contextlib import suppress

from brokerctl.broker.events import event, record_fields
from brokerctl.broker.issuer import SourceAnswer
from brokerctl.broker.request import find_profile
from brokerctl.errors import (
    LockTimeoutError,
    LoginNeededError,
    OAuthError,
    StoreError,
    UsageError,
    shell_word,
)
from brokerctl.freshness import timestamp
from brokerctl.model import SUPERSEDED, TokenRequest, size_of
from brokerctl.oauth.unverified_claims import find_unverified_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.broker import Broker
    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.broker.request import DecidedRequest
    from brokerctl.model import Reference
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.steps import Proof
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.secret import Secret
    from brokerctl.store.interface import StoreKeys
    from brokerctl.store.values import Grant

_LEFT_S = 30.0  # of a signed token that is to be exchanged
# What says that the client, or what it asks for, is wrong (RFC 6749, 5.2, and RFC 8707): no other
# grant would do. Any other refusal may be that of a grant which is good once; for that RFC 7523 has
# `invalid_grant`, RFC 8693 `invalid_request`, and some issuers have words of their own.
_NOT_THE_GRANT = (
    *("invalid_client", "unauthorized_client", "unsupported_grant_type"),
    *("invalid_scope", "invalid_target"),
)


class ExchangeSources:
    """Finds the tokens that one request exchanges, if it exchanges any.

    A grant for another issuer is kept until it ends and is sent for each further exchange, until
    that issuer refuses one: it may note each `jti` and take it once (RFC 7523, section 3). Such a
    refusal is answered by one new grant, and the habit is remembered.
    """

    __slots__ = ("_deadline", "_decided", "_found", "_is_learnt", "_issuer", "_needs_new")

    def __init__(
        self,
        decided: DecidedRequest,
        issuer: IssuerClient,
        deadline: float,
        *,
        needs_new: bool = False,
    ) -> None:
        """`deadline`: of all that is done under the lock of the grant that wants the tokens.

        `needs_new`: the last attempt failed, so that a grant which is kept may have been refused.
        """
        self._decided = decided
        self._issuer = issuer
        self._deadline = deadline
        self._needs_new = needs_new
        self._is_learnt = False
        self._found: dict[str, SourceAnswer] = {}

    def exchange(
        self,
        context: FlowContext,
        ask: Callable[[FlowContext], TokenAnswer],
        may_ask_again: Callable[[], bool],
    ) -> TokenAnswer:
        """Return what the issuer gives for the tokens; OAuthError where it refuses them."""
        try:
            return ask(self._put_into(context))
        except OAuthError as error:
            if not self._retire(error) or not may_ask_again():
                raise
        try:
            answer = ask(self._put_into(context))
        except OAuthError as error:
            self._retire(error)
            raise
        self._is_learnt = True
        return answer

    def learn(self) -> None:
        """Remember it if the issuer took a new grant where it had refused one that was used."""
        if self._is_learnt:
            with suppress(StoreError):  # it is seen again: one refusal more
                self._issuer.known.learn_once(self._decided.profile.issuer, time.time())

    def _put_into(self, context: FlowContext) -> FlowContext:
        """Return the context of a flow with the tokens that it exchanges."""
        asked = self._decided.profile.exchange
        if asked is None:
            return context
        sources = {"subject_token": asked.subject, "actor_token": asked.actor}
        found = {name: self._find(one) for name, one in sources.items() if one is not None}
        self._found = {name: one for name, one in found.items() if one is not None}
        values = {name: one.value for name, one in self._found.items()}
        return context.replace(credentials=context.credentials.replace(**values))

    def _retire(self, error: OAuthError) -> bool:
        """Retire the grants that an issuer refused; return whether new ones may change its mind.

        Security: no value is sent again after a refusal, whoever asks for it next.
        """
        grants = [one for one in self._found.values() if one.request is not None]
        for one in grants:
            with suppress(StoreError, LockTimeoutError):  # the next attempt makes another anyway
                assert self._issuer.sources is not None  # noqa: S101 - it gave the grant
                self._issuer.sources.retire(one, self._deadline)
        self._needs_new = True
        return error.error not in _NOT_THE_GRANT and any(one.is_reused for one in grants)

    def _find(self, source: Reference) -> SourceAnswer | None:
        """Return a source's token; None for this job's identity, which the flow asks for itself."""
        decided, issuer = self._decided, self._issuer
        profile = decided.profile
        if source.kind == "identity":
            return None
        if source.kind != "profile":
            return SourceAnswer(value=self._resolve(source))
        if issuer.sources is None:
            raise UsageError(f"'{profile.name}' has nobody to ask for '{source.target[0]}'")
        asked = TokenRequest(
            profile=source.target[0],
            requester=decided.request.requester,
            purpose=decided.request.purpose,
            made_out_to=(profile.issuer, *decided.decision.resource),
            for_profile=profile.name,
            deadline=self._deadline,
        )
        if source.target[1:]:
            return SourceAnswer(value=issuer.sources.get_id_token(asked))
        asked = asked.replace(is_own=decided.request.is_own, is_reused=True)
        if decided.request.is_fresh:
            asked = asked.replace(is_fresh=True)
        elif self._needs_new or issuer.known.takes_once(profile.issuer):
            asked = asked.replace(is_fresh=True, is_patient=True)
        return issuer.sources.get(asked)

    def _resolve(self, source: Reference) -> Secret:
        """Return the token of a file or of a command."""
        from brokerctl.config.references import resolve  # noqa: PLC0415 - most have no file

        issuer, name = self._issuer, self._decided.profile.name
        within = tuple(dict.fromkeys((*issuer.within, name)))
        try:
            hidden = issuer.hidden
            return resolve(source, issuer.environ, lambda _: None, hidden=hidden, within=within)
        except UsageError as error:
            hint = error.hint or f"run 'brokerctl profile show {shell_word(name)}'"
            raise UsageError(f"'{name}': {error.message}", hint=hint) from None


class SourceTokens:
    """Other profiles' tokens, for exchanges: each is decided and recorded, as for `get`."""

    __slots__ = ("_broker", "_ring")

    def __init__(self, broker: Broker, ring: StoreKeys) -> None:
        self._broker = broker
        self._ring = ring

    def get(self, request: TokenRequest) -> SourceAnswer:
        """Return a profile's access token, or its grant for another issuer; raises as `get` does.

        A grant that is over by its own `exp` (RFC 7519, 4.1.4) is not sent again.
        """
        profile = find_profile(self._broker.plan.profiles, request.profile)
        if not profile.is_chained:
            request = request.replace(made_out_to=(), is_fresh=False, is_patient=False)
        if request.is_own and (not profile.is_own_as_source or self._is_shared(request)):
            request = request.replace(is_own=False)
        if not profile.is_chained:
            return SourceAnswer(value=self._broker.get(request).value)
        answer = self._broker.get(request)
        if answer.source == "cache" and _is_over(answer.value):
            answer = self._broker.get(request.replace(is_fresh=True, is_patient=True))
        is_reused = answer.source == "cache"
        return SourceAnswer(value=answer.value, request=request, is_reused=is_reused)

    def _is_shared(self, request: TokenRequest) -> bool:
        """Return whether there is a token that no session owns: it goes on after this one."""
        return self._broker.holds(request.replace(is_own=False))

    def retire(self, used: SourceAnswer, deadline: float) -> None:
        """Serve a grant no more: the issuer that it is for has refused it. `revoke` reaches it."""
        assert used.request is not None  # noqa: S101 - only a grant is retired
        decided = self._broker.find_decision(used.request)
        store = self._broker.store_for(decided)
        with store.lock_grant(decided.grant_key, deadline) as locked:
            locked.settle(self._ring.fingerprint(used.value.reveal()), SUPERSEDED)

    def get_id_token(self, request: TokenRequest) -> Secret:
        """Return the ID token of a profile's login, or of its last refresh.

        OpenID Connect Core, 3.1.3.3 and 12.2. One that is over is asked for by a refresh;
        LoginNeededError where none brings any.
        """
        broker, request = self._broker, request.replace(made_out_to=())
        decided = broker.decide(request)
        grant = _find_grant(broker, decided)
        if grant is not None and grant.id_token is not None and _is_over(grant.id_token):
            broker.get(request.replace(is_fresh=True))
            grant = _find_grant(broker, decided)
        if grant is None or grant.id_token is None or _is_over(grant.id_token):
            name = request.profile
            raise LoginNeededError(
                f"'{name}' has no ID token that could be exchanged",
                hint=f"put openid into its scopes, then run 'brokerctl login {shell_word(name)}'",
            )
        fingerprint = self._ring.fingerprint(grant.id_token.reveal())
        _record(broker, decided, grant.id_token, fingerprint)
        return grant.id_token


def refuse_other_job(decided: DecidedRequest, proof: Proof) -> None:
    """Raise UsageError for an identity that is not of the job for which a request was decided.

    Security: a file may have got another token meanwhile. What it is exchanged for would be kept
    under the name of the job before, and served to that one.
    """
    job = decided.job
    if job is not None and job.id is not None and proof.job != job.id:
        raise UsageError(
            f"the identity of '{decided.profile.name}' changed while it was being exchanged",
            hint="nothing was sent: run the command again",
        )


def _find_grant(broker: Broker, decided: DecidedRequest) -> Grant | None:
    grant = broker.store.find_grant(decided.grant_key)
    return None if grant is None or grant.dead_why is not None else grant


def _is_over(token: Secret) -> bool:
    """Return whether a token says that it has ended, or will before it could be exchanged."""
    end = find_unverified_end(token)
    return end is not None and end - time.time() < _LEFT_S


def _record(broker: Broker, decided: DecidedRequest, id_token: Secret, fingerprint: str) -> None:
    end = find_unverified_end(id_token)
    of_token = {
        "fingerprint": fingerprint,
        "size": size_of(id_token),
        "expires_at": None if end is None else timestamp(end),
    }
    fields = record_fields(decided) | of_token
    broker.log.append(*event("token.handed_out", fields, outcome="id_token"))
