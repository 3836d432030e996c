"""A record and the policy that decided it: the same decision again, or what is not recorded."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import jsonlite
from brokerctl.audit.record import render_body
from brokerctl.broker.events import EVENTS, event, record_fields
from brokerctl.broker.request import DecidedRequest
from brokerctl.config.rules import ASK, DENY
from brokerctl.policy import who
from brokerctl.policy.diff import compare
from brokerctl.policy.replay import REQUESTS, NotRecordedError, decide_again, is_request, outcome_of
from tests.policy_world import (
    CONDITIONS,
    DAY_S,
    DAYS,
    MIN_S,
    PROFILES,
    decide,
    make_job,
    make_layers,
    make_request,
)

if TYPE_CHECKING:
    from brokerctl.config.rules import RuleLayer
    from brokerctl.model import Profile

EACH = 500
ASKED: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"scopes": ("read",)},
    {"scopes": ("read", "write")},
    {"scopes": ("none",)},
    {"max_ttl_s": 30},
    {"max_ttl_s": 7200.0},
)


def make_record(
    profile: Profile,
    layers: tuple[RuleLayer, ...],
    point: dict[str, Any],
    asked: dict[str, Any],
    late_s: float,
) -> tuple[dict[str, Any], Any]:
    """Decide a request of this point, and return its line of the log and the decision."""
    decision = decide(profile, layers, point, **asked)
    request, job = make_request(profile, point, **asked), make_job(profile, point)
    fields = record_fields(DecidedRequest(profile, request, decision, job))
    is_denied = decision.effect in {DENY, ASK}
    more = {"outcome": "denied", "error": "no"} if is_denied else {"outcome": "cache"}
    name, fields = event("token.denied" if is_denied else "token.handed_out", fields, more)
    now = DAYS.index(point["days"]) * DAY_S + point["time"] * MIN_S + late_s
    line = b'{"seq":1,' + render_body(name, fields, now) + b"}"
    return jsonlite.loads(line), decision


def random_points(seed: int) -> Any:  # noqa: ANN401 - a generator of several things
    """Yield a profile, a policy, a point of its world and what is asked for by name."""
    chance = random.Random(seed)
    for _ in range(EACH):
        names = chance.sample(list(CONDITIONS), chance.randint(1, 6))
        profile, layers = chance.choice(PROFILES), make_layers(chance, names)
        world = who.make_world(profile, layers)
        point = {name: chance.choice(values) for name, values in world.items()}
        if point["purpose"] is not None and chance.random() < 0.3:
            point["purpose"] = point["tool"]  # as the record has it of none
        yield chance, profile, layers, point, chance.choice(ASKED)


@pytest.mark.parametrize("seed", range(4))
def test_the_record_decides_again(seed: int) -> None:
    """By the policy that was in force: the same effect, rule, layer and narrowing, no guess."""
    effects = set()
    for chance, profile, layers, point, asked in random_points(seed):
        # Written a little later, when the minute or the day may be another one.
        record, decision = make_record(
            profile, layers, point, asked, chance.choice((0, 5, 59, 130))
        )
        assert is_request(record)
        again = decide_again(record, profile, layers)
        assert outcome_of(again) == outcome_of(decision), (record, layers)
        effects.add(again.effect)
        found = compare([record], {profile.name: profile}, layers, layers)
        assert (found.requests, found.same) == (1, 1)
    assert effects == {"allow", "narrow", ASK, DENY}


@pytest.mark.parametrize("seed", range(4))
def test_another_policy_decides_as_it_would_have(seed: int) -> None:
    """What a record decides by another policy is what that would have decided, or is not known."""
    known = 0
    for _, profile, layers, point, asked in random_points(seed):
        chance = random.Random(repr(point))
        others = make_layers(chance, chance.sample(list(CONDITIONS), 3))
        if any(
            name in rule.when for one in others for rule in one.rules for name in ("time", "days")
        ):
            continue  # the record's own time is when it was written
        record, _ = make_record(profile, layers, point, asked, 0)
        if record["decision"]["layer"] == "built-in" and record["decision"]["effect"] == DENY:
            continue
        try:
            again = decide_again(record, profile, others)
        except NotRecordedError:
            continue
        known += 1
        expected = decide(profile, others, point, **asked)
        assert outcome_of(again) == outcome_of(expected), (record, others)
    assert known > EACH // 4


def test_every_request_s_event_is_one() -> None:
    """The events that are looked at are those of the one table."""
    assert EVENTS.keys() >= REQUESTS
