"""A request that was decided: what it may get, and the keys of its grant and of its token."""

from __future__ import annotations

import time

from brokerctl import freshness, policy
from brokerctl.errors import DeniedError, UsageError, shell_word
from brokerctl.model import NOT_BEARER, WITHIN, GrantKey, TokenKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from brokerctl.config.plan import Plan
    from brokerctl.identity import Job
    from brokerctl.model import Decision, Profile, Reference, Token, TokenRequest
    from brokerctl.policy import Rules
    from brokerctl.store.interface import LockedGrant, Store

    Redeem = Callable[["DecidedRequest", LockedGrant], Token]

    class Surroundings(Protocol):
        """What a decision depends on beside the request."""

        def find_job(self, source: Reference, /) -> Job | None:
            """Return the job that a profile's tokens are of; UsageError where there is none."""

        def find_rules(
            self, profile: Profile | None, request: TokenRequest, job: Job | None, /
        ) -> Rules | None:
            """Return the rules in force for a request, None where no layer has one.

            `profile` is None for what a tool had us keep.
            """

        def store_of(self, job: Job | None, /) -> Store:
            """Return where the tokens of a job are kept."""

    class AskingSurroundings(Surroundings, Protocol):
        """Surroundings in which somebody may be asked."""

        def approval(self) -> Approver:
            """Return what finds the answers where rules want somebody to be asked."""

    class Approver(Protocol):
        """Finds answers: `approval.Approval`, which gets a `question.Asked`."""

        def has_lease(self, asked: Any, /) -> bool:  # noqa: ANN401 - as above
            """Return whether a lease covers it."""

        def find_held(self, asked: Any, /) -> tuple[tuple[str, Any], ...] | None:  # noqa: ANN401 - as above
            """Return an answer that there is, and count it."""

        def ask(self, asked: Any, /) -> tuple[tuple[str, Any], ...]:  # noqa: ANN401 - as above
            """Return who says yes; DeniedError."""

        def give_back(self, asked: Any, lease_id: str, /) -> None:  # noqa: ANN401 - as above
            """Give back a use of a lease."""

        def name_of(self, asked: Any, /) -> str:  # noqa: ANN401 - as above
            """Return the name of a question."""


_SHOWN_SCOPES = 8
REFUSED = ("deny", "ask")  # as long as nobody has said yes


class Alone:
    """Surroundings in which no token is a job's, and no layer has a rule."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def find_job(self, _: Reference) -> None:
        """Return no job."""

    def find_rules(self, *_: object) -> None:
        """Return no rules."""

    def store_of(self, _: Job | None) -> Store:
        """Return the one store."""
        return self._store

    def approval(self) -> Approver:
        """Raise DeniedError: nobody is here."""
        raise DeniedError("nobody can be asked here")


class DecidedRequest:
    """One request: what was asked, what was decided, and the keys that follow from both."""

    __slots__ = ("decision", "grant_key", "job", "profile", "request", "started", "token_key")

    def __init__(
        self,
        profile: Profile,
        request: TokenRequest,
        decision: Decision,
        job: Job | None = None,
    ) -> None:
        self.profile = profile
        self.job = job
        self.request = request
        self.decision = decision
        self.started = time.time()
        self.grant_key = grant_key(profile, request.subject, None if job is None else job.id)
        session = request.requester.session if request.is_own else None
        self.token_key = TokenKey(
            grant=self.grant_key,
            actor=session,
            scopes=decision.scopes,
            resource=decision.resource,
            audience=decision.audience,
            extra=profile.extra,
        )

    @property
    def is_made_anew(self) -> bool:
        """Whether it is for a session's own token, which no token in the store is."""
        return self.request.is_own and not self.request.is_reused

    def serves(self, token: Token | None, now: float) -> bool:
        """Return whether a held token answers this request."""
        if token is None or (self.request.is_fresh and token.issued_at < self.started):
            return False
        max_ttl_s, min_ttl_s = self.decision.max_ttl_s, self.min_ttl_s(token)
        if token.issued_at >= self.started:
            # Nothing fresher can be had: without this, each waiter that wants more than a token's
            # whole lifetime, or meets one that lives for a second, would send a request of its own.
            min_ttl_s = 0
        return freshness.is_fresh(token, now, max_ttl_s, min_ttl_s)

    def min_ttl_s(self, token: Token) -> float | None:
        """Return what a token must have left, as the request or the profile says; None: neither."""
        if self.request.min_ttl_s is not None:
            return self.request.min_ttl_s
        if self.profile.min_ttl_s is None and self.request.margin is not None:
            return freshness.margin_of(token, self.decision.max_ttl_s, self.request.margin)
        return self.profile.min_ttl_s

    def find_in(self, store: Store) -> Token | None:
        """Return the token of the request's slot; None for a session's own, which is made anew."""
        if self.is_made_anew:
            return None
        return store.find_token(self.token_key, time.time(), 0)

    def still_good(self, token: Token | None, now: float) -> bool:
        """Return whether a token may be served while the issuer is down: not asked to be newer."""
        if token is None or self.request.is_fresh:
            return False
        return freshness.is_fresh(token, now, self.decision.max_ttl_s, freshness.LEAST_MARGIN_S)


class AskFirst(Exception):
    """Somebody has to be asked about this request, and a grant's lock is held for another one."""

    def __init__(self, decided: DecidedRequest) -> None:
        super().__init__(decided.profile.name)
        self.decided = decided


def decide(plan: Plan, request: TokenRequest, around: Surroundings) -> DecidedRequest:
    """Decide a request; UsageError if there is no such profile, or no job whose identity it needs.

    IssuerError where a rule asks what a platform has to prove, and that fails.
    """
    profile = find_profile(plan.profiles, request.profile)
    job = None if profile.job_source is None else around.find_job(profile.job_source)
    narrowed = plan.narrowed_of(profile.name)
    rules = around.find_rules(profile, request, job)
    decision = policy.decide(profile, request, narrowed, job, rules)
    if narrowed is not None and decision.digest is not None:  # so that it can be decided again
        noted = (*decision.noted, (policy.PROJECT_SCOPES, list(narrowed)))
        decision = decision.replace(noted=noted)
    return DecidedRequest(profile, request, decision, job)


def find_profile(profiles: Mapping[str, Profile], name: str) -> Profile:
    """Return the profile of that name, or raise UsageError with what to do."""
    profile = profiles.get(name)
    if profile is None:
        known = ", ".join(sorted(profiles)) or "there are none yet"
        raise UsageError(
            f"no profile '{name}' ({known})",
            hint=f"run 'brokerctl profile add {shell_word(name)}'",
        )
    return profile


def grant_key(profile: Profile, subject: str | None = None, job: str | None = None) -> GrantKey:
    """Return what names the grant of one (profile, subject), and of one job where it is a job's.

    Security: a client that also acts for itself has its own tokens there, never a person's.
    """
    return GrantKey(
        issuer=profile.issuer,
        client_id=profile.client_id,
        subject=subject or profile.subject,
        actor=None if profile.traits.needs_person else "client",
        job=job,
        scopes=profile.scopes,
        resource=profile.resource,
        audience=profile.audience,
        extra=profile.extra,
        source=_source_of(profile),
    )


def _source_of(profile: Profile) -> str | None:
    """Return whose token is exchanged, and for what: it is part of the grant's key."""
    asked = profile.exchange
    if asked is None:
        return None
    words = [_words_of(profile, asked.subject), asked.subject_type]
    if asked.actor is not None:
        words += [_words_of(profile, asked.actor), asked.actor_type or ""]
    if asked.requested_type is not None:
        words += ["for", asked.requested_type]
    # An access token of a profile is what the version before this one knew, by the source alone.
    is_plain = len(words) == 2 and profile.traits.token_type == NOT_BEARER  # noqa: PLR2004 - source and type
    return words[0] if is_plain else " ".join(words)


def _words_of(profile: Profile, source: Reference) -> str:
    """Return what names a source; an identity is also what the profile says of it."""
    words = [source.kind, *source.target]
    if source.kind == "identity":
        named = profile.identity
        words += [] if named is None or named.kind == "auto" else [named.kind, *named.target]
        words += [profile.identity_audience] if profile.identity_audience else []
    return " ".join(words)


def find_broader(decided: DecidedRequest, granted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes that were granted beyond those asked for, sorted."""
    has_levels = decided.profile.traits.has_levels
    return policy.find_broader(decided.decision.scopes, granted, has_levels=has_levels)


def broader_text(decided: DecidedRequest, granted: tuple[str, ...]) -> str:
    """Return the text about scopes that were granted beyond those asked for; "" if none was."""
    broader = find_broader(decided, granted)
    if not broader:
        return ""
    found = " ".join(broader[:_SHOWN_SCOPES])
    more = "" if len(broader) <= _SHOWN_SCOPES else f" and {len(broader) - _SHOWN_SCOPES} more"
    return f"the issuer of '{decided.profile.name}' gave {found}{more} too, which was not asked for"


def read_within(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the profiles whose secret we were started for, outermost first; mostly none."""
    within = environ.get(WITHIN)
    return tuple(within.split(",")) if within else ()


def refuse_circle(within: tuple[str, ...], name: str) -> None:
    """Raise UsageError where the command that fetches a profile's secret asks for its token."""
    if name in within:
        circle = " → ".join(f"'{one}'" for one in (*within[within.index(name) :], name))
        raise UsageError(
            f"'{name}' is asked for by the command that fetches its own secret: {circle}",
            hint=f"run 'brokerctl profile show {shell_word(name)}': that command must not ask us",
        )


def denied(decided: DecidedRequest) -> DeniedError:
    """Return the refusal of a request that its decision does not allow."""
    name, decision = decided.profile.name, decided.decision
    command = "policy explain" if decision.digest is not None else "profile show"
    message = denial_text(decided.profile, decision)
    if decision.effect == "ask":
        message += ", and nobody can be asked here"
    return DeniedError(
        message, hint=f"run 'brokerctl {command} {shell_word(name)}'", rule=decision.rule
    )


def denial_text(profile: Profile, decision: Decision) -> str:
    """Return why a request is decided so, as a refusal says it and `policy explain` too."""
    return f"'{profile.name}': {decision.reason}"
