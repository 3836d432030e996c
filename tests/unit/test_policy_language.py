"""The language of `[policy]`: what can't be meant is refused with its place and the nearest key."""

from __future__ import annotations

import pytest

from brokerctl.config.plan import parse_plan, render_plan
from brokerctl.errors import UsageError
from brokerctl.policy.check import find_warnings
from tests.unit import broken_policies as broken
from tests.unit.test_config_errors import GOOD, compiled, refused

Place = tuple[int, int]
PLACES: list[tuple[str, Place, str, str | None]] = [
    *(
        (broken.HEAD + broken.ALLOW + text + "\n", (7, 1), said, hint)
        for text, said, hint in broken.KEY
    ),
    *(
        (f"{broken.HEAD}{broken.ALLOW}when = {{ {text} }}\n", (7, 10), said, hint)
        for text, said, hint in broken.WHEN
    ),
    *broken.WHOLE,
]


def test_there_are_enough() -> None:
    """Each fault of the language at least once: 120 at the least, and no text twice."""
    assert len({text for text, *_ in PLACES}) == len(PLACES) >= 120


@pytest.mark.parametrize("label", ["system", "user", "project"])
@pytest.mark.parametrize(("text", "place", "message", "hint"), PLACES)
def test_a_broken_policy_has_its_place(
    label: str, text: str, place: tuple[int, int], message: str, hint: str | None
) -> None:
    """File, line, column, what is wrong, and the nearest key, in each layer that can have it."""
    if label == "project" and "olcy]" in text:
        hint = None  # a project's keys are others
    layers = {label: text} if label != "user" else {}
    error = refused(text if label == "user" else GOOD, **layers)
    line, column = place
    assert error.message.startswith(f"/{label}.toml:{line}:{column}: ")
    assert message in error.message
    assert hint is None or (error.hint or "").startswith(hint)
    assert error.message.isprintable() or "\\u" not in text


@pytest.mark.parametrize(
    "more",
    [
        'when = { time = "08:00-08:00" }',
        'when = { time = "00:00-24:00", days = ["mon", "mon"] }',
        'when = { host = ["git.example", "git.example:8443", "git.example:*", "*"] }',
        'when = { profile = ["x", "x-*", "*"], exe = ["/bin/sh", "/usr/bin/*", "*"] }',
        'when = { uid = 0, session = true }\nuses = 1\nrate = "999999/1d"',
        'when = { agent = "a*" }\nuses = 1000000',
        "when = {}",
        'when = { purpose = true, method = "GET", path = ["/", "/a b"] }',
        'scopes = ["a", "b"]\nresource = ["urn:x"]\naudience = ["y"]\nmax_ttl = "999999999d"',
    ],
)
def test_what_can_be_meant_is_taken_and_survives_the_plan(more: str) -> None:
    """The rules that are decided by are the ones that were read."""
    plan = compiled(GOOD + broken.HEAD + broken.ALLOW + more + "\n")
    again = parse_plan(render_plan(plan))
    assert again is not None
    assert render_plan(again) == render_plan(plan)
    assert [rule.name for rule in again.policy[0].rules] == ["r"]
    assert find_warnings([], plan.profiles, ()) == []


def test_a_default_alone_is_no_layer() -> None:
    """It does not vote, so that nothing is decided by it."""
    assert compiled(GOOD + '[policy]\ndefault = "deny"\n').policy == ()
    assert compiled(GOOD + "[policy]\n").policy == ()


def test_too_many_rules() -> None:
    """There is an end to it, which is far away."""
    rules = "".join(broken.RULE.format(number, "deny") for number in range(10_001))
    with pytest.raises(UsageError, match="has more than 10000 rules"):
        compiled(f'[policy]\ndefault = "deny"\n{rules}')
