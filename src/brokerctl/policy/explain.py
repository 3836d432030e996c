"""Says why a request is decided as it is: each rule that was looked at, and what did not hold.

The decision is `policy.decide`'s own. The steps are what the same layers report of the same facts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl.config.duration import render_duration
from brokerctl.config.rules import AGE, CONDITIONS, DEFAULT_DENY, DENY, TIME
from brokerctl.errors import BrokerError
from brokerctl.model import Value
from brokerctl.policy import LAYER, NO_FORKS, Rules, decide, decide_limits
from brokerctl.policy.facts import Facts, known_facts
from brokerctl.policy.layers import DEFAULT, judge, judge_agent
from brokerctl.text import any_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.config.rules import Rule, RuleLayer
    from brokerctl.identity import Job
    from brokerctl.model import Decision, Profile, TokenRequest
    from brokerctl.policy.layers import Verdict

_SHOWN_ITEMS = 6
_HOUR_MIN = 60
# The built-in limits in the order in which they are looked at: what each says where it does not
# deny. The last one is what is left.
LIMITS = {
    "hosts of the profile": "no server, or one of the profile's hosts",
    "insecure_ok of the profile": "no certificate would go unchecked",
    "owner only": "the requester is the owner of the store",
    NO_FORKS: "no job of a fork asks",
    "made out to another issuer": "its tokens are for tools too",
    "session policy of the role": "no role is narrowed to what its policy can't say",
    "scopes of the profile": "each scope is among the profile's",
    "resources of the profile": "each resource is among the profile's",
    "audiences of the profile": "each audience is among the profile's",
    "within the profile": "",
}
# What is said of a fact that is not known; of a claim: it was proven of no job.
_UNKNOWN = {
    "subject": "no subject is named",
    "agent": "no agent asks",
    "purpose": "nobody gave a purpose",
    "host": "no server is named",
    "method": "no request of a gateway or proxy is decided",
    "path": "no request of a gateway or proxy is decided",
    "fork": "no job's identity is used",
    "login_age": "no person's login is stored",
}


class Step(Value):
    """One rule, as it was looked at; `is_matched` is None where it was not."""

    layer: str
    rule: str
    effect: str  # what the rule says where it matches
    is_matched: bool | None
    condition: str | None  # the first one that does not hold
    why: str


def explain(
    profile: Profile,
    request: TokenRequest,
    narrowed: tuple[str, ...] | None = None,
    job: Job | None = None,
    rules: Rules | None = None,
) -> tuple[Decision, list[Step]]:
    """Return what `policy.decide` says of the same arguments, and the steps to it.

    Raises what `decide` does. A fact that only the steps ask for, and that can't be read, is not
    known there.
    """
    facts = None if rules is None else _Remembered(rules.read)
    if rules is not None and facts is not None:
        rules = Rules(rules.layers, rules.digest, rules.now, facts.read)
    decision = decide(profile, request, narrowed, job, rules)
    limits = decide_limits(profile, request, narrowed, job)
    steps = _steps_of_limits(limits)
    if rules is None or facts is None:
        return decision, steps
    if limits.rule == NO_FORKS:
        limits = decide_limits(profile, request, narrowed, None)
        steps = _steps_of_fork(steps, limits, decision)
    if limits.effect == DENY:
        return decision, steps + _not_looked_at(rules.layers)
    known = known_facts(profile, request, limits, job, rules.now)
    return decision, steps + _steps_of_layers(rules.layers, request, Facts(known, facts.find))


class _Remembered:
    """The facts that cost something, each read once for the decision and for the steps."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self._read = read
        self._found: dict[str, Any] = {}

    def read(self, name: str) -> Any:  # noqa: ANN401 - what CONDITIONS says of it
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def find(self, name: str) -> Any:  # noqa: ANN401 - as above
        try:
            return self.read(name)
        except BrokerError:
            return None


def _steps_of_limits(limits: Decision) -> list[Step]:
    """Return the built-in limits as the rules that they are, up to the one that decided."""
    steps: list[Step] = []
    is_decided = False
    for name, held in LIMITS.items():
        is_last = name == "within the profile"
        effect, is_it = "allow" if is_last else DENY, limits.rule == name
        is_matched = None if is_decided else is_it
        why = limits.reason if is_it else "an earlier limit denies" if is_decided else held
        steps.append(_step(LAYER, name, effect, is_matched, why))
        is_decided = is_decided or is_it
    return steps


def _steps_of_fork(steps: list[Step], unforked: Decision, decision: Decision) -> list[Step]:
    """Return the limits of a fork's job: a rule can let it pass, and no other limit."""
    at = list(LIMITS).index(NO_FORKS)
    limit = steps[at]
    if decision.effect != DENY:
        limit = limit.replace(why=f"{limit.why}, but a rule is for forks by name")
    rest = steps if unforked.effect != DENY else _steps_of_limits(unforked)
    return [*rest[:at], limit, *rest[at + 1 :]]


def _not_looked_at(layers: tuple[RuleLayer, ...]) -> list[Step]:
    why = "the built-in limits deny before any rule"
    return [
        _step(layer.label, rule.name, rule.effect, None, why)
        for layer in layers
        for rule in layer.rules
    ]


def _step(
    layer: str,
    rule: str,
    effect: str,
    is_matched: bool | None,  # noqa: FBT001 - of a value
    why: str,
    condition: str | None = None,
) -> Step:
    return Step(
        layer=layer,
        rule=rule,
        effect=effect,
        is_matched=is_matched,
        condition=condition,
        why=why,
    )


def _steps_of_layers(
    layers: tuple[RuleLayer, ...], request: TokenRequest, facts: Callable[[str], Any]
) -> list[Step]:
    steps: list[Step] = []
    verdicts = []
    for layer in layers:
        looked_at: list[tuple[Rule, str | None]] = []
        verdict = judge(layer, facts, lambda _, rule, name, to=looked_at: to.append((rule, name)))  # type: ignore[misc]  # mypy can't type a default
        steps += [_step_of(layer, rule, name, verdict, facts) for rule, name in looked_at]
        steps.append(_step_of_default(layer, verdict))
        verdicts.append(verdict)
    if request.requester.agent is not None:
        steps.append(_step_of_agent(judge_agent(verdicts)))
    return steps


def _step_of(
    layer: RuleLayer, rule: Rule, name: str | None, verdict: Verdict, facts: Callable[[str], Any]
) -> Step:
    if name is not None:
        why = describe_mismatch(name, rule.when[name], facts(name))
        return _step(layer.label, rule.name, rule.effect, False, why, name)  # noqa: FBT003 - as above
    why = "all of its conditions hold" if rule.when else "it has no condition"
    if verdict.rule is not rule:
        why += f", but '{verdict.name}' goes before it"
    return _step(layer.label, rule.name, rule.effect, True, why)  # noqa: FBT003 - as above


def _step_of_default(layer: RuleLayer, verdict: Verdict) -> Step:
    effect = DENY if layer.default == DEFAULT_DENY else "allow"
    is_it = verdict.rule is None
    why = f'no rule matches, and default = "{layer.default}"' if is_it else "a rule matches"
    return _step(layer.label, DEFAULT, effect, is_it, why)


def _step_of_agent(verdict: Verdict) -> Step:
    is_denied = verdict.effect == DENY
    why = (
        "no rule that allows or asks matches" if is_denied else "a rule that allows or asks matches"
    )
    why = f"an agent gets what a rule gives it: {why}"
    return _step(verdict.layer, DEFAULT, DENY, is_denied, why)


def describe_mismatch(name: str, wanted: Any, fact: Any) -> str:  # noqa: ANN401 - what CONDITIONS says
    """Return in words why a condition does not hold; foreign text in it is not yet escaped."""
    asked = _wanted_words(name, wanted)
    if fact is None:
        return f"{_unknown_words(name)}; {name} must be {asked}"
    found = _found_words(name, fact)
    return f"{name} is {found}, and must be {asked}"


def _unknown_words(name: str) -> str:
    if name in _UNKNOWN:
        return _UNKNOWN[name]
    return "it is proven of no job" if CONDITIONS[name].is_claim else f"{name} can't be read"


def _wanted_words(name: str, wanted: Any) -> str:  # noqa: ANN401 - as above
    kind = CONDITIONS[name].kind
    if isinstance(wanted, bool):
        return str(wanted).lower()
    if kind == AGE:
        return f"at most {render_duration(wanted)}"
    if kind == TIME:
        return any_of(f"{_clock(begin)}-{_clock(end)}" for begin, end in wanted) + " UTC"
    shown = [str(one) for one in wanted[:_SHOWN_ITEMS]]
    if len(wanted) > len(shown):
        shown.append(f"{len(wanted) - len(shown)} more")
    return any_of(shown)


def _found_words(name: str, fact: Any) -> str:  # noqa: ANN401 - as above
    kind = CONDITIONS[name].kind
    if isinstance(fact, bool):
        return str(fact).lower()
    if kind == AGE:
        return render_duration(int(fact))
    if kind == TIME:
        return f"{_clock(fact)} UTC"
    if isinstance(fact, tuple | list):
        shown = " ".join(map(str, fact[:_SHOWN_ITEMS])) + (
            " ..." if len(fact) > _SHOWN_ITEMS else ""
        )
        return shown or "none"
    return str(fact)


def _clock(minutes: int) -> str:
    return f"{minutes // _HOUR_MIN:02}:{minutes % _HOUR_MIN:02}"


def render_explanation(profile: str, decision: Decision, steps: list[Step]) -> dict[str, object]:
    """Return the documented JSON of `policy explain --json` (schema 1)."""
    return {
        "schema": 1,
        "profile": profile,
        "effect": decision.effect,
        "rule": decision.rule,
        "layer": decision.layer,
        "reason": decision.reason,
        "scopes": list(decision.scopes),
        "resource": list(decision.resource),
        "audience": list(decision.audience),
        "max_ttl": decision.max_ttl_s,
        "steps": [
            {
                "layer": step.layer,
                "rule": step.rule,
                "effect": step.effect,
                "matched": step.is_matched,
                "condition": step.condition,
                "why": step.why,
            }
            for step in steps
        ],
    }
