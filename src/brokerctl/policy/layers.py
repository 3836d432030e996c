"""Decides by the rules of the layers: each layer by itself, and the strictest of them counts.

In a layer a rule that denies goes before one that asks, and that before the first that allows; its
default is for what no rule matches. What several layers narrow is intersected. No layer can loosen
what another one decided, nor what the profile's own limits leave (contract, section 4).
"""

from __future__ import annotations

from brokerctl.config.rules import ALLOW, ASK, DEFAULT_DENY, DENY, NARROWED
from brokerctl.model import Value
from brokerctl.policy.facts import find_mismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.config.rules import Rule, RuleLayer
    from brokerctl.model import Decision, Profile, TokenRequest

    Facts = Callable[[str], Any]
    # Told of each rule that is looked at: its layer, and the condition that does not hold.
    Tell = Callable[[RuleLayer, Rule, str | None], None]

DEFAULT = "default"
SESSION = "session"  # the layer of a session's flags, and of an agent's session
PROJECT = "project"
_STRICTNESS = (ALLOW, ASK, DENY)
_WORDS = {"scopes": "scope", "resource": "resource", "audience": "audience"}


class Verdict(Value):
    """What one layer says; `rule` is None where its default decides."""

    layer: str
    effect: str  # allow | ask | deny
    rule: Rule | None = None

    @property
    def name(self) -> str:
        """The name of the rule, as records and refusals have it."""
        return DEFAULT if self.rule is None else self.rule.name

    @property
    def may_lift(self) -> bool:
        """Whether its rule gives what is denied until a rule names it: to an agent, or to a fork.

        Security: a project's file can only narrow, since all who can commit to it can change it;
        and what a session was started with is no rule of anybody's.
        """
        return (
            self.rule is not None and self.effect != DENY and self.layer not in {PROJECT, SESSION}
        )


def decide(
    profile: Profile | None,
    request: TokenRequest,
    limits: Decision,
    layers: tuple[RuleLayer, ...],
    facts: Facts,
) -> tuple[Decision, tuple[Rule, ...]]:
    """Return what the rules make of `limits`, which is what the profile's own limits leave.

    The rules that it comes with are those that may lift what is denied to forks.
    """
    verdicts = [judge(layer, facts) for layer in layers]
    if request.requester.agent is not None:
        verdicts.append(judge_agent(verdicts))
    strictest = max(verdicts, key=lambda one: _STRICTNESS.index(one.effect))
    if strictest.effect == DENY:
        return refuse(strictest, _reason(strictest)), ()
    lifting = tuple(one.rule for one in verdicts if one.rule is not None and one.may_lift)
    narrowed = _Narrowing(profile, request, limits).by(verdicts)
    if narrowed.effect != DENY:
        narrowed = _with_limits(narrowed, verdicts)
    if narrowed.effect != DENY and strictest.effect == ASK:
        changes = {"rule": strictest.name, "layer": strictest.layer, "effect": ASK}
        narrowed = narrowed.replace(reason=_reason(strictest), **changes)
    return narrowed, lifting


def _with_limits(decision: Decision, verdicts: list[Verdict]) -> Decision:
    """Note what the rules count, and which of them ask: an answer is one to all of these."""
    from brokerctl.config.rules import Limit  # noqa: PLC0415 - as below

    asking = tuple((one.layer, one.name) for one in verdicts if one.effect == ASK)
    limits = tuple(
        Limit(
            layer=one.layer,
            rule=one.name,
            is_asking=one.effect == ASK,
            uses=one.rule.uses,
            rate=None if one.rule.rate is None else (one.rule.rate[0], one.rule.rate[1]),
        )
        for one in verdicts
        if one.rule is not None and (one.rule.uses is not None or one.rule.rate is not None)
    )
    return decision.replace(limits=limits, asking=asking) if limits or asking else decision


def judge(layer: RuleLayer, facts: Facts, tell: Tell | None = None) -> Verdict:
    """Return what a layer says; with `tell` all its rules are looked at, not what counts alone."""
    found: dict[str, Rule] = {}
    for rule in layer.rules:
        if tell is None and rule.effect in found:
            continue  # the first one counts
        mismatch = find_mismatch(rule, facts)
        if tell is not None:
            tell(layer, rule, mismatch)
        if mismatch is None:
            found.setdefault(rule.effect, rule)
    for effect in (DENY, ASK, ALLOW):
        if effect in found:
            return Verdict(layer=layer.label, effect=effect, rule=found[effect])
    effect = DENY if layer.default == DEFAULT_DENY else ALLOW
    return Verdict(layer=layer.label, effect=effect)


def judge_agent(verdicts: list[Verdict]) -> Verdict:
    """Return what the layer of an agent's session says: no, unless a rule of another gives it."""
    is_named = any(one.may_lift for one in verdicts)
    return Verdict(layer=SESSION, effect=ALLOW if is_named else DENY)


def refuse(verdict: Verdict, reason: str) -> Decision:
    """Return the decision of a layer that denies."""
    from brokerctl.model import Decision  # noqa: PLC0415 - most requests are allowed

    return Decision(effect=DENY, rule=verdict.name, layer=verdict.layer, reason=reason)


def _reason(verdict: Verdict) -> str:
    rule = verdict.rule
    if rule is None:
        if verdict.layer == SESSION:
            return "no rule allows it to an agent"
        return f"no rule of the {verdict.layer} policy allows it"
    if rule.reason:
        return rule.reason
    verbs = {DENY: "denies it", ASK: "wants a person to be asked"}
    return f"rule '{rule.name}' of the {verdict.layer} policy {verbs[rule.effect]}"


class _Narrowing:
    """Intersects what the rules leave with what the profile's limits left."""

    def __init__(self, profile: Profile | None, request: TokenRequest, limits: Decision) -> None:
        self.profile, self.request, self.limits = profile, request, limits
        self.has_levels = profile is not None and profile.traits.has_levels
        self.left: dict[str, tuple[str, ...]] = {name: getattr(limits, name) for name in NARROWED}
        self.max_ttl_s = limits.max_ttl_s
        self.bound: Verdict | None = None  # whose rule took something away
        self.by_name: dict[str, Verdict] = {}

    def by(self, verdicts: list[Verdict]) -> Decision:
        for verdict in verdicts:
            if verdict.rule is None:
                continue
            refused = self._narrow(verdict, verdict.rule)
            if refused is not None:
                return refused
        return self._decision(next((one for one in verdicts if one.rule is not None), None))

    def _decision(self, first: Verdict | None) -> Decision:
        named = self.bound or first
        changes: dict[str, Any] = {**self.left, "max_ttl_s": self.max_ttl_s}
        if named is not None:
            changes |= {"rule": named.name, "layer": named.layer}
            what = "narrows it" if self.bound else "allows it"
            default = f"rule '{named.name}' of the {named.layer} policy {what}"
            changes["reason"] = named.rule.reason if named.rule and named.rule.reason else default
        if self.bound is not None:
            changes["effect"] = "narrow"
        return self.limits.replace(**changes)

    def _narrow(self, verdict: Verdict, rule: Rule) -> Decision | None:
        for name in NARROWED:
            wanted = getattr(rule, name)
            if wanted is not None and not (self.request.made_out_to and name != "scopes"):
                refused = self._intersect(verdict, name, tuple(wanted))
                if refused is not None:
                    return refused
        if rule.max_ttl_s is not None and (
            self.max_ttl_s is None or rule.max_ttl_s < self.max_ttl_s
        ):
            self.max_ttl_s, self.bound = rule.max_ttl_s, verdict
        return None

    def _intersect(self, verdict: Verdict, name: str, wanted: tuple[str, ...]) -> Decision | None:
        """Take away what a rule does not name; return a refusal where that can't be."""
        before, word = self.left[name], _WORDS[name]
        outside = self._outside(name, wanted)
        if outside is not None:
            text = f"{word} {outside} is not among those of rule '{verdict.name}'"
            return refuse(verdict, text)
        left = self._common(name, before, wanted)
        if not left:
            first = self.by_name.get(name)
            other = f"of rule '{first.name}'" if first else "of the profile"
            return refuse(verdict, f"no {word} of rule '{verdict.name}' is among those {other}")
        if left != before:
            if name == "resource" and self.profile is not None and not self.profile.send_resource:
                # Security: a resource that is not sent narrows nothing.
                text = f"this issuer takes no resource, so rule '{verdict.name}' can't narrow it"
                return refuse(verdict, text)
            self.left[name], self.bound = left, verdict
        self.by_name[name] = verdict
        return None

    def _outside(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """Return what was asked for by name and is not allowed."""
        asked: tuple[str, ...] | None = getattr(self.request, name)
        if asked is None:
            return None
        if self.has_levels and name == "scopes":
            from brokerctl.config import scope_levels  # noqa: PLC0415 - most scopes are plain

            return next((one for one in asked if not scope_levels.is_within(one, allowed)), None)
        return next((one for one in asked if one not in allowed), None)

    def _common(
        self, name: str, before: tuple[str, ...], wanted: tuple[str, ...]
    ) -> tuple[str, ...]:
        if not (self.has_levels and name == "scopes"):
            return tuple(one for one in before if one in wanted)
        from brokerctl.config import scope_levels  # noqa: PLC0415 - as above

        return scope_levels.intersect(before, wanted)
