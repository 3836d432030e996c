"""Random policies, requests and facts: what must hold for every decision, whoever wrote the rules.

The random generator is seeded, so that a failure comes again; each seed is a test of its own, and
together they are 100,000 policies.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import policy
from brokerctl.config.rules import ALLOW, ASK, DENY, Rule, RuleLayer
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.policy.facts import Facts, find_mismatch, known_facts
from brokerctl.policy.layers import judge

if TYPE_CHECKING:
    from brokerctl.model import Decision

EACH, FEW, ALL = 5000, 3, 20
PROFILE = Profile(
    name="gitlab",
    issuer="https://issuer.example",
    flow="device",
    client_id="c",
    scopes=("api", "read", "write"),
    resource=("https://a.example", "https://b.example"),
    audience=("x", "y"),
)
PARTS = {"scopes": PROFILE.scopes, "resource": PROFILE.resource, "audience": PROFILE.audience}
TOOLS, AGENTS = ("git", "docker", "get", "exec"), (None, None, None, "coder")
DAY_S = 86400
# Facts that cost something, as a machine would answer.
COSTLY = {
    "tty": (True, False, None),
    "login_age": (0.0, 100.0, None),
    "exe_sha256": ("a" * 64, "b" * 64, None),
    "repository": ("acme/shop", "acme/site", None),
    "ci": ("github", None),
}
CONDITIONS: dict[str, tuple[Any, ...]] = {
    "profile": (["gitlab"], ["git*"], ["other"]),
    "tool": (["git"], ["git", "docker"], ["g*"]),
    "agent": (["coder"], ["*"]),
    "session": (True, False),
    "purpose": (True, ["release-*"]),
    "uid": ([os.geteuid()], [os.geteuid() + 1]),
    "host": (["git.example"], ["git.example:*"]),
    "scope": (["write"], ["read"], ["r*"]),
    "resource": (["https://a.example"],),
    "time": ([[0, 720]], [[1200, 60]], [[480, 480]], [[0, 1440]]),
    "days": (["mon", "tue"], ["sun"]),
    "exe": (["/usr/bin/*"], ["/opt/x"]),
    "parent": (["bash"], ["/bin/*"]),
    "tty": (True, False),
    "login_age": (50, 500),
    "exe_sha256": (["a" * 64],),
    "repository": (["acme/*"], ["acme/shop"]),
    "ci": (["github"],),
}
OF_TIME = ("time", "days")


class World:
    """One random policy, request and moment."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.count = 0
        labels = ("system", "user", "project")[: chance.randint(1, 3)]
        self.layers = tuple(self.layer(label) for label in labels)
        self.request = self.make_request()
        self.now = float(chance.randrange(7 * DAY_S))
        self.facts = {name: chance.choice(values) for name, values in COSTLY.items()}

    def layer(self, label: str) -> RuleLayer:
        """Make a layer of up to four rules."""
        default = self.chance.choice(("deny", "profile"))
        rules = tuple(self.rule() for _ in range(self.chance.randint(1, 4)))
        return RuleLayer(label=label, default=default, rules=rules)

    def rule(self, effect: str | None = None) -> Rule:
        """Make a rule with up to three conditions."""
        chance, self.count = self.chance, self.count + 1
        effect = effect or chance.choice((ALLOW, ALLOW, ALLOW, ASK, DENY))
        names = chance.sample(list(CONDITIONS), chance.randint(0, 3))
        when = {name: chance.choice(CONDITIONS[name]) for name in CONDITIONS if name in names}
        rule = Rule(name=f"rule {self.count}", effect=effect, when=when)
        if effect == DENY:
            return rule
        narrowed: dict[str, Any] = {
            name: self.some(of) for name, of in PARTS.items() if chance.random() < 0.3
        }
        ttl = chance.choice((None, None, 60, 900, 7200))
        return rule.replace(max_ttl_s=ttl, **narrowed)

    def some(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return one or more, sorted; now and then one that the profile does not have."""
        found = set(self.chance.sample(values, self.chance.randint(1, len(values))))
        return tuple(sorted(found | ({"none"} if self.chance.random() < 0.1 else set())))

    def make_request(self) -> TokenRequest:
        """Make a request of this user."""
        chance = self.chance
        requester = Requester(
            uid=os.geteuid(),
            pid=1,
            exe=chance.choice(("/usr/bin/git", "/opt/x", None)),
            parents=((chance.choice(("bash", "zsh")), "/bin/bash"),),
            tool=chance.choice(TOOLS),
            agent=chance.choice(AGENTS),
            session=chance.choice((None, "s")),
        )
        asked: dict[str, Any] = {
            name: self.some(of) for name, of in PARTS.items() if chance.random() < 0.2
        }
        url = chance.choice((None, None, "https://git.example/a"))
        hosts = ("https://git.example",) if url else ()
        self.profile = PROFILE.replace(hosts=hosts, max_ttl_s=chance.choice((None, 3600)))
        purpose = chance.choice((None, "release-1", "x"))
        return TokenRequest(
            profile="gitlab", requester=requester, url=url, purpose=purpose, **asked
        )

    def decide(self, layers: tuple[RuleLayer, ...] | None = None, now: float | None = None) -> Any:  # noqa: ANN401 - a Decision
        """Decide as the broker does."""
        found = self.layers if layers is None else layers
        rules = policy.Rules(found, "d", self.now if now is None else now, self.facts.get)
        return policy.decide(self.profile, self.request, rules=rules)

    def known(self) -> Facts:
        """Return the facts, as a decision has them."""
        limits = policy.decide_limits(self.profile, self.request)
        return Facts(
            known_facts(self.profile, self.request, limits, None, self.now), self.facts.get
        )


def is_wider(first: Decision, second: Decision) -> bool:
    """Return whether the first one allows anything that the second one does not."""
    order = {DENY: 0, ASK: 1, "narrow": 2, ALLOW: 2}
    if order[first.effect] != order[second.effect]:
        return order[first.effect] > order[second.effect]
    if first.effect == DENY:
        return False
    if any(set(getattr(first, name)) - set(getattr(second, name)) for name in PARTS):
        return True
    ends = [float("inf") if one.max_ttl_s is None else one.max_ttl_s for one in (first, second)]
    return ends[0] > ends[1]


def expect(world: World) -> str:  # noqa: C901 - the contract's words in their order
    """Return the effect by the words of contract 4, as plainly as they can be written."""
    if policy.decide_limits(world.profile, world.request).effect == DENY:
        return DENY
    facts, effects, named, left = world.known(), [], False, {n: set(v) for n, v in PARTS.items()}
    asked = {name: getattr(world.request, name) for name in PARTS}
    left |= {name: set(value) for name, value in asked.items() if value is not None}
    for layer in world.layers:
        matched = [rule for rule in layer.rules if find_mismatch(rule, facts) is None]
        by_effect = {one: [rule for rule in matched if rule.effect == one] for one in (DENY, ASK)}
        allows = [rule for rule in matched if rule.effect == ALLOW]
        if by_effect[DENY]:
            return DENY
        counts = (by_effect[ASK] or allows)[:1]
        named = named or (bool(counts) and layer.label != "project")
        if not counts:
            effects.append(DENY if layer.default == "deny" else ALLOW)
            continue
        effects.append(counts[0].effect)
        for name in PARTS:
            wanted = getattr(counts[0], name)
            if wanted is not None and asked[name] is not None and set(asked[name]) - set(wanted):
                effects.append(DENY)
            left[name] &= set(left[name] if wanted is None else wanted)
    if DENY in effects or not all(left.values()):
        return DENY
    if world.request.requester.agent is not None and not named:
        return DENY
    return ASK if ASK in effects else ALLOW


def worlds(seed: int) -> list[World]:
    """Return this seed's worlds."""
    chance = random.Random(seed)
    return [World(chance) for _ in range(EACH)]


@pytest.mark.parametrize("seed", range(FEW))
def test_decisions(seed: int) -> None:
    """Each decision is what the contract's words say, and nothing that is added widens it."""
    check(seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FEW, ALL))
def test_many_decisions(seed: int) -> None:
    """As before: 100,000 of them with those."""
    check(seed)


def check(seed: int) -> None:
    """Look at one seed's decisions."""
    seen = set()
    for world in worlds(seed):
        decision = world.decide()
        seen.add(decision.effect)
        assert decision.effect.replace("narrow", ALLOW) == expect(world), decision
        _no_layer_widens(world, decision)
        _no_denial_widens(world, decision)
        _no_condition_widens(world)
        _order_changes_the_name_alone(world)
        _time_changes_rules_of_time_alone(world, decision)
        limits = policy.decide_limits(world.profile, world.request)
        assert not is_wider(decision, limits)
    assert seen == {ALLOW, "narrow", ASK, DENY}


def _no_layer_widens(world: World, decision: Decision) -> None:
    """An agent is the exception: it gets nothing until a layer above the project's names it."""
    label = "more" if world.request.requester.agent is None else "project"
    more = world.decide((*world.layers, world.layer(label)))
    assert not is_wider(more, decision), (decision, more)


def _no_denial_widens(world: World, decision: Decision) -> None:
    first, *others = world.layers
    at = world.chance.randint(0, len(first.rules))
    rules = (*first.rules[:at], world.rule(DENY), *first.rules[at:])
    more = world.decide((first.replace(rules=rules), *others))
    assert not is_wider(more, decision), (decision, more)


def _no_condition_widens(world: World) -> None:
    """For the only rule that allows, where the default denies: else the default takes its place."""
    rule = world.rule(ALLOW)
    name = world.chance.choice([one for one in CONDITIONS if one not in rule.when])
    harder = rule.replace(when={**rule.when, name: world.chance.choice(CONDITIONS[name])})
    layers = [
        (RuleLayer(label="user", default="deny", rules=(one,)), *world.layers[1:])
        for one in (rule, harder)
    ]
    assert not is_wider(world.decide(layers[1]), world.decide(layers[0]))


def _order_changes_the_name_alone(world: World) -> None:
    layer = world.layers[0]
    allows = [rule for rule in layer.rules if rule.effect == ALLOW]
    shuffled = allows.copy()
    world.chance.shuffle(shuffled)
    replaced = iter(shuffled)
    rules = tuple(next(replaced) if rule.effect == ALLOW else rule for rule in layer.rules)
    facts = world.known()
    before, after = judge(layer, facts), judge(layer.replace(rules=rules), facts)
    assert before.effect == after.effect
    if before.effect != ALLOW:
        assert before == after


def _time_changes_rules_of_time_alone(world: World, decision: Decision) -> None:
    moved = world.decide(now=float(world.chance.randrange(7 * DAY_S)))
    if moved != decision:
        rules = [rule for layer in world.layers for rule in layer.rules]
        assert any(name in rule.when for rule in rules for name in OF_TIME)
        noted = {name for one in (moved, decision) for name, _ in one.noted}
        assert noted & set(OF_TIME)
