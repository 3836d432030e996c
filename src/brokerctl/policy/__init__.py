"""Decides token requests: the one place that every hand-out passes.

The lowest layer is here: a request can get at most what its profile has, and only the owner can
ask. Rules of one's own narrow that further (`layers`). Each request is decided anew; no decision is
stored.
"""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.model import Decision
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.config.rules import RuleLayer
    from brokerctl.model import Profile, Requester, TokenRequest
    from brokerctl.policy.facts import Facts, Job

    Read = Callable[[str], Any]

LAYER = "built-in"
NO_FORKS = "no forks"
PROJECT_SCOPES = "project_scopes"  # a fact of records: what a trusted project left of the profile's
# Scopes that many issuers add to a grant, leave out of it, or spell in their own way.
NO_DIFFERENCE = frozenset(
    (
        *("openid", "profile", "email", "offline_access"),
        *(f"https://www.googleapis.com/auth/userinfo.{name}" for name in ("email", "profile")),
    )
)


class Rules:
    """The layers with rules that are in force, what names their files, and the time.

    `read` finds the facts that cost something, by the names of `config.rules.CONDITIONS`.
    """

    __slots__ = ("digest", "layers", "now", "read")

    def __init__(
        self, layers: tuple[RuleLayer, ...], digest: str | None, now: float, read: Read
    ) -> None:
        self.layers, self.digest, self.now, self.read = layers, digest, now, read

    def find_facts(
        self, profile: Profile | None, request: TokenRequest, limits: Decision, job: Job | None
    ) -> Facts:
        """Return what the rules are compared with, for one request."""
        from brokerctl.policy.facts import Facts, known_facts  # noqa: PLC0415 - most plans have no rule

        return Facts(known_facts(profile, request, limits, job, self.now), self.read)


def decide(
    profile: Profile,
    request: TokenRequest,
    narrowed: tuple[str, ...] | None = None,
    job: Job | None = None,
    rules: Rules | None = None,
) -> Decision:
    """Return allow, narrow, ask or deny for one request, with the rule that decided.

    `narrowed` has the profile's scopes that a trusted project file leaves; `job` is the one whose
    identity is exchanged for the token.
    """
    limits = decide_limits(profile, request, narrowed, job)
    is_fork = limits.effect == "deny" and limits.rule == NO_FORKS
    if rules is None or (limits.effect == "deny" and not is_fork):
        return limits
    if not is_fork:
        return _by_rules(profile, request, limits, job, rules)[0]
    unforked = decide_limits(profile, request, narrowed, None)
    decision, is_allowed = _by_rules(profile, request, unforked, job, rules)
    # Security: a fork gets what a rule gives to forks by name, and no default of a policy.
    if is_allowed or decision.effect == "deny":
        return decision
    return limits.replace(digest=decision.digest, noted=decision.noted)


def _by_rules(
    profile: Profile | None,
    request: TokenRequest,
    limits: Decision,
    job: Job | None,
    rules: Rules,
) -> tuple[Decision, bool]:
    """Return the decision, and whether a rule that names forks was among those that allow."""
    if limits.effect == "deny":
        return limits, False
    from brokerctl.policy.layers import decide as decide_by_layers  # noqa: PLC0415 - as above

    facts = rules.find_facts(profile, request, limits, job)
    decision, lifting = decide_by_layers(profile, request, limits, rules.layers, facts)
    noted = tuple(facts.noted.items())
    is_for_forks = any(rule.when.get("fork") is True for rule in lifting)
    return decision.replace(digest=rules.digest, noted=noted), is_for_forks


def decide_limits(
    profile: Profile,
    request: TokenRequest,
    narrowed: tuple[str, ...] | None = None,
    job: Job | None = None,
) -> Decision:
    """Return what the profile's own limits leave: the lowest layer, which is always there."""
    has_levels = profile.traits.has_levels
    allowed = profile.scopes if narrowed is None else narrowed
    if has_levels and narrowed is not None:
        allowed = _completed(narrowed, profile.scopes)
    denied = _deny_ends(profile, request) or _deny_fork(job)
    if denied is None and request.made_out_to:
        return _make_out(profile, request.made_out_to, allowed)
    denied = denied or _deny_words(profile, request, allowed)
    if denied:
        return denied
    scopes = _chosen(request.scopes, allowed)
    if has_levels:
        scopes = _completed(scopes, allowed)
    resource = _chosen(request.resource, profile.resource)
    audience = _chosen(request.audience, profile.audience)
    max_ttl_s = _shortest(request.max_ttl_s, profile.max_ttl_s)
    own = (profile.scopes, profile.resource, profile.audience, None)
    is_narrow = (scopes, resource, audience, max_ttl_s) != own
    return Decision(
        effect="narrow" if is_narrow else "allow",
        rule="within the profile",
        layer=LAYER,
        reason="a subset of what the profile allows",
        scopes=scopes,
        resource=resource,
        audience=audience,
        max_ttl_s=max_ttl_s,
    )


def decide_kept(request: TokenRequest, rules: Rules | None = None) -> Decision:
    """Return allow, ask or deny for a tool's own credential, which has no profile.

    Its owner gets it, where no rule says otherwise; `request.url` is where it was stored for.
    """
    limits = _deny_others(request.requester) or Decision(
        effect="allow", rule="helpers.keep", layer=LAYER, reason="where it was stored for"
    )
    return limits if rules is None else _by_rules(None, request, limits, None, rules)[0]


def find_broader(
    scopes: tuple[str, ...], granted: tuple[str, ...], *, has_levels: bool = False
) -> tuple[str, ...]:
    """Return the scopes that were granted beyond those asked for, sorted.

    () if none was asked for: then the issuer's default is what was asked for (RFC 6749, 3.3).
    `has_levels`: they are those of `config.scope_levels`.
    """
    if granted == scopes or not scopes:
        return ()
    if has_levels:
        from brokerctl.config import scope_levels  # noqa: PLC0415 - most flows have plain scopes

        more = set(granted) - scope_levels.NO_DIFFERENCE
        return tuple(sorted(one for one in more if not scope_levels.is_within(one, scopes)))
    return tuple(sorted(set(granted).difference(scopes, NO_DIFFERENCE)))


def may_be_broader(profile: Profile, decision: Decision) -> bool:
    """Return whether a token with broader scopes may be handed out.

    If the profile does not say, it may unless the decision narrowed the profile's scopes.
    """
    if profile.allow_broader is not None:
        return profile.allow_broader
    return decision.scopes == profile.scopes


def _deny_ends(profile: Profile, request: TokenRequest) -> Decision | None:
    """Deny a server that is not the profile's or is not authenticated, and a foreign requester."""
    if request.url is not None and not _may_go_to(profile, request.url):
        return _deny("hosts of the profile", "the server that wants a token is not of its hosts")
    if request.is_insecure and not profile.insecure_ok:
        reason = "the server's certificate would not be checked, and insecure_ok is not true"
        if request.insecure_by:
            reason = f"by {request.insecure_by} {reason}"
        return _deny("insecure_ok of the profile", reason)
    return _deny_others(request.requester)


def _deny_words(
    profile: Profile, request: TokenRequest, allowed: tuple[str, ...]
) -> Decision | None:
    """Deny what no word of the request, or one too many, would make of it."""
    if profile.is_for_issuers:
        return _deny("made out to another issuer", "what it gets is for other issuers alone")
    if profile.traits.has_session_policy and (request.scopes, request.resource) != (None, None):
        from brokerctl.config import session_policies  # noqa: PLC0415 - most flows have none

        problem = session_policies.find_problem(profile, request.scopes, request.resource)
        if problem is not None:
            return _deny("session policy of the role", problem)
        request = request.replace(scopes=None, resource=None)  # they are within the role
    if allowed and request.scopes == ():
        # Security: without a scope in the request an issuer grants its default, which may be all.
        return _deny("scopes of the profile", "no scope is named, which is not none for an issuer")
    if not profile.send_resource and request.resource not in {None, profile.resource}:
        # Security: a resource that is not sent narrows nothing, although the record would name it.
        return _deny("resources of the profile", "this issuer takes no resource to narrow to")
    return _deny_wider(profile, request, allowed)


def _deny_wider(
    profile: Profile, request: TokenRequest, scopes: tuple[str, ...]
) -> Decision | None:
    """Deny what the profile was not given; `scopes` are those that it may use here."""
    for word, wanted, allowed in (
        ("scope", request.scopes, scopes),
        ("resource", request.resource, profile.resource),
        ("audience", request.audience, profile.audience),
    ):
        has_levels = word == "scope" and profile.traits.has_levels
        outside = _outside(wanted, allowed, has_levels=has_levels)
        if outside:
            return _deny(f"{word}s of the profile", f"{word} {outside} is not among the profile's")
    return None


def _deny_others(requester: Requester) -> Decision | None:
    if requester.uid != os.geteuid():
        return _deny("owner only", "the requester is another user")
    return None


def _make_out(profile: Profile, to: tuple[str, ...], scopes: tuple[str, ...]) -> Decision:
    """Allow a grant for the issuer of another profile of the user's, which alone is shown it.

    What it is for stands in that profile, and was decided there.
    """
    return Decision(
        effect="narrow",
        rule="made out to another issuer",
        layer=LAYER,
        reason=f"a grant for {to[0]} alone",
        scopes=scopes,
        resource=tuple(sorted(to[1:])),
        audience=to[:1],
        max_ttl_s=profile.max_ttl_s,
    )


def _deny_fork(job: Job | None) -> Decision | None:
    """Security: whoever can open a pull request could have a job run with this identity."""
    if job is not None and job.fork is not None:
        return _deny(NO_FORKS, f"this job is a fork's: {job.fork}")
    return None


def _may_go_to(profile: Profile, url: str) -> bool:
    from brokerctl.config.hosts import covers  # noqa: PLC0415 - most requests name no URL

    try:
        return covers(profile, url)
    except UsageError:
        return False  # no host is spelled so


def _deny(rule: str, reason: str) -> Decision:
    return Decision(effect="deny", rule=rule, layer=LAYER, reason=reason)


def _outside(
    wanted: tuple[str, ...] | None, allowed: tuple[str, ...], *, has_levels: bool = False
) -> str | None:
    for item in wanted or ():
        if item in allowed:
            continue
        if has_levels:
            from brokerctl.config import scope_levels  # noqa: PLC0415 - as above

            if scope_levels.is_within(item, allowed):
                continue
        return item
    return None


def _completed(scopes: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Security: a request that names a repository alone gets the profile's permissions at most."""
    from brokerctl.config import scope_levels  # noqa: PLC0415 - as above

    return scope_levels.complete(scopes, allowed)


def _chosen(wanted: tuple[str, ...] | None, allowed: tuple[str, ...]) -> tuple[str, ...]:
    return allowed if wanted is None else tuple(sorted(set(wanted)))


def _shortest(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
