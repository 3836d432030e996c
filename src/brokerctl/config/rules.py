"""The rules of a policy as values, and the table of what a rule can ask for (contract, section 4).

A layer's `[policy]` is read by `config.words.policy`; `policy` decides by what stands here. In a
plan the values are JSON, so lists and tuples are one here.
"""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALLOW, ASK, DENY = "allow", "ask", "deny"
EFFECTS = (ALLOW, ASK, DENY)
DEFAULT_DENY, DEFAULT_PROFILE = "deny", "profile"  # the profile's own limits
NARROWED = ("scopes", "resource", "audience")

# How the items of a condition are compared with the fact of that name.
PATTERN = "pattern"  # equal, or from the same beginning where it ends in `*`
FLAG = "flag"  # true or false
GIVEN = "given"  # a pattern, or true: whatever it is
NUMBER = "number"
DIGEST = "digest"  # SHA-256 in hex
WORD = "word"  # one of a few
PATH = "path"  # a prefix on segments
TIME = "time"  # of the day in UTC, as pairs of minutes
AGE = "age"  # at most so many seconds


class ConditionTraits(Value):
    """What is known of one key of `when`."""

    kind: str
    costs: bool = False  # it is read only where a rule asks, after all others of that rule hold
    is_claim: bool = False  # it is proven of this job by its platform, or it is not known
    is_evidence: bool = False  # the same user can make it say what he likes
    words: tuple[str, ...] = ()  # all that it can be
    shape: str = ""  # what an item must look like, where `config.words.policy` checks that


# Cheap ones first: the conditions of a rule are looked at in this order.
CONDITIONS = {
    "profile": ConditionTraits(kind=PATTERN, shape="profile"),
    "subject": ConditionTraits(kind=PATTERN),
    "tool": ConditionTraits(kind=PATTERN, is_evidence=True),
    "agent": ConditionTraits(kind=PATTERN, is_evidence=True),
    "session": ConditionTraits(kind=FLAG, is_evidence=True),
    "purpose": ConditionTraits(kind=GIVEN, is_evidence=True),
    "uid": ConditionTraits(kind=NUMBER),
    "host": ConditionTraits(kind=PATTERN, shape="host", is_evidence=True),
    "scope": ConditionTraits(kind=PATTERN),
    "resource": ConditionTraits(kind=PATTERN),
    "method": ConditionTraits(kind=WORD, shape="method"),
    "path": ConditionTraits(kind=PATH, shape="path"),
    "time": ConditionTraits(kind=TIME, shape="time"),
    "days": ConditionTraits(kind=WORD, words=("mon", "tue", "wed", "thu", "fri", "sat", "sun")),
    "exe": ConditionTraits(kind=PATTERN, shape="executable", is_evidence=True),
    "parent": ConditionTraits(kind=PATTERN, is_evidence=True),
    "fork": ConditionTraits(kind=FLAG, is_evidence=True),
    "tty": ConditionTraits(kind=FLAG, costs=True, is_evidence=True),
    "login_age": ConditionTraits(kind=AGE, costs=True, shape="age"),
    "exe_sha256": ConditionTraits(kind=DIGEST, costs=True, shape="sha256", is_evidence=True),
    "ci": ConditionTraits(kind=PATTERN, costs=True, is_claim=True),
    "repository": ConditionTraits(kind=PATTERN, costs=True, is_claim=True),
    "repository_id": ConditionTraits(kind=PATTERN, costs=True, is_claim=True),
    "branch": ConditionTraits(kind=PATTERN, costs=True, is_claim=True),
    "environment": ConditionTraits(kind=PATTERN, costs=True, is_claim=True),
    "event": ConditionTraits(kind=PATTERN, costs=True, is_claim=True),
}


class Rule(Value):
    """One `[[policy.rule]]`: all of `when` must hold; narrowings are None where it names none."""

    name: str
    effect: str  # of EFFECTS
    when: dict[str, Any]  # by the keys of CONDITIONS: a flag, a number of seconds, or a list
    scopes: tuple[str, ...] | None = None
    resource: tuple[str, ...] | None = None
    audience: tuple[str, ...] | None = None
    max_ttl_s: int | None = None
    uses: int | None = None  # hand-outs of one session, or of one lease
    rate: tuple[int, int] | None = None  # so many of them in so many seconds
    reason: str | None = None


class Limit(Value):
    """How often a rule gives something, in one session or in one lease."""

    layer: str
    rule: str
    is_asking: bool
    uses: int | None = None
    rate: tuple[int, int] | None = None  # so many in so many seconds


class RuleLayer(Value):
    """One layer's policy, which decides by itself; a layer without a rule is none."""

    label: str  # system, user or project
    default: str  # what no rule matches: "deny", or "profile"
    rules: tuple[Rule, ...] = ()


def render_layers(layers: tuple[RuleLayer, ...]) -> list[Any]:
    """Return the layers for a plan."""
    return [[one.label, one.default, [_render(rule) for rule in one.rules]] for one in layers]


def _render(rule: Rule) -> dict[str, Any]:
    return {name: value for name, value in rule.as_dict().items() if value is not None}


def parse_layers(found: list[Any]) -> tuple[RuleLayer, ...]:
    """Return the layers of a plan; ValueError, TypeError or KeyError where they are none."""
    return tuple(
        RuleLayer(label=label, default=default, rules=tuple(Rule(**rule) for rule in rules))
        for label, default, rules in found
    )


def can_match(rule: Rule, profile: str) -> bool:
    """Return whether a rule could speak of this profile."""
    wanted = rule.when.get("profile")
    return wanted is None or any(matches(item, profile) for item in wanted)


def matches(item: str, value: str) -> bool:
    """Return whether a pattern's item matches a text: letter by letter, `*` at its end alone."""
    if item[-1:] == "*":
        return len(value) >= len(item) and value.startswith(item[:-1])
    return item == value
