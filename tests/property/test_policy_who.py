"""Who gets what, against brute force over the whole small world of random policies."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.config.rules import ALLOW, ASK, DENY, Rule, RuleLayer, matches
from brokerctl.errors import UsageError
from brokerctl.policy import who
from brokerctl.policy.replay import outcome_of
from tests.policy_world import CONDITIONS, PERSON, PROFILES, decide, make_layers

if TYPE_CHECKING:
    from brokerctl.model import Profile

EACH = 60


def is_in(access: who.Access, point: dict[str, Any]) -> bool:
    """Return whether a point of the world lies in a box."""
    return all(point[name] in values for name, values in access.of.items())


@pytest.mark.parametrize("seed", range(4))
def test_who_agrees_with_brute_force(seed: int) -> None:
    """Each point of the whole small world lies in one box, which says what is decided there."""
    chance = random.Random(seed)
    effects, points = set(), 0
    for _ in range(EACH):
        names = chance.sample(list(CONDITIONS), chance.randint(1, 4))
        profile, layers = chance.choice(PROFILES), make_layers(chance, names)
        scopes = chance.choice((None, None, ("read",)))
        found = who.find_access(profile, layers, scopes)
        effects |= {one.decision.effect for one in found}
        for point in points_of(profile, layers, names):
            points += 1
            boxes = [one for one in found if is_in(one, point)]
            assert len(boxes) == 1, (point, boxes)
            expected = decide(profile, layers, point, scopes=scopes)
            assert outcome_of(boxes[0].decision) == outcome_of(expected), (point, boxes)
    assert effects == {"allow", "narrow", ASK, DENY}
    assert points > 10 * EACH


def points_of(profile: Profile, layers: tuple[RuleLayer, ...], names: list[str]) -> Any:  # noqa: ANN401 - dictionaries
    """Yield the product of all values; of a fact that no rule asks for, its first one alone."""
    world = who.make_world(profile, layers)
    asked = {*names, "agent", "fork", "tool"}
    values = [of if name in asked else of[:1] for name, of in world.items()]
    for point in itertools.product(*values):
        found = dict(zip(world, point, strict=True))
        if found["agent"] is not None and not found["session"]:
            continue  # an agent is in a session
        yield found


def test_the_world_tells_apart_what_the_rules_do() -> None:
    """Every text that a rule could match has one in the world that the same items match."""
    items = ["a*", "ab*", "abc", "b", "*"]
    layer = RuleLayer(
        label="user",
        default="deny",
        rules=(Rule(name="r", effect=ALLOW, when={"tool": items}),),
    )
    world = who.make_world(PERSON, (layer,))["tool"]
    seen = {vector(items, one) for one in world}
    letters = (
        "".join(text) for size in (1, 2, 3, 4) for text in itertools.product("abc", repeat=size)
    )
    assert {vector(items, one) for one in letters} <= seen


def vector(items: list[str], text: str) -> tuple[bool, ...]:
    """Return which of the items match."""
    return tuple(matches(item, text) for item in items)


def test_too_large_a_world_is_said() -> None:
    """It is no endless search: another command is named that answers for one request."""
    rules = tuple(
        Rule(
            name=f"r{number}",
            effect=ALLOW,
            when={"tool": [f"t{number}"], "purpose": [f"p{number}"], "exe": [f"/e{number}"]},
        )
        for number in range(40)
    )
    more = tuple(
        one.replace(name=f"d{one.name}", effect=DENY, when={"exe": one.when["exe"]})
        for one in rules
    )
    layer = RuleLayer(label="user", default="deny", rules=rules + more)
    with pytest.raises(UsageError, match="more than"):
        who.find_access(PERSON, (layer,))
