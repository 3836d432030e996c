"""What rules cost a warm `get`, counted: many of them and many profiles, against one of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.machine.room import answers, write_private
from tests.machine.test_warm_cost import count_calls, count_instructions

if TYPE_CHECKING:
    from tests.machine.installation import Installation
    from tests.machine.room import Machine

GET = ("get", "person")
MORE = 1.03  # the budget of design 9
RULES, PROFILES = 1000, 500
HEAD = '\n[policy]\ndefault = "deny"\n'
RULE = """
[[policy.rule]]
name = "{name}"
effect = "{effect}"
when = {{ profile = "{profile}" }}
"""
PROFILE = """
[profile.p{number}]
issuer = "https://issuer-{number}.example.com"
flow = "device"
client_id = "client-{number}"
scopes = ["read", "write"]
hosts = ["https://git-{number}.example.com"]
"""


def small() -> str:
    """Return one rule."""
    return HEAD + RULE.format(name="own", effect="allow", profile="person")


def large() -> str:
    """Return a thousand rules for 500 profiles, and the one of before among them."""
    profiles = "".join(PROFILE.format(number=number) for number in range(PROFILES - 2))
    rules = [
        RULE.format(
            name=f"rule {number}",
            effect=("allow", "ask", "deny")[number % 3],
            profile=f"p{number % (PROFILES - 2)}",
        )
        for number in range(RULES - 1)
    ]
    rules.insert(RULES // 2, RULE.format(name="own", effect="allow", profile="person"))
    return profiles + HEAD + "".join(rules)


@pytest.mark.slow(reason="valgrind takes forty times as long")
def test_many_rules(machine: Machine, image: Installation) -> None:
    """A profile's request reads its own part of the plan, and the rules that it could match."""
    with open(machine.config) as file:
        plain = file.read()
    counts: list[tuple[int, int]] = []
    for policy in (small(), large()):
        write_private(machine.config, plain + policy)
        answers(machine(*GET))
        env = machine.program.environment()
        argv = [image.program, *GET]
        counts.append((count_instructions(argv, env), count_calls(argv, env)))
    few, many = counts
    assert many[0] <= MORE * few[0], many[0] / few[0]
    assert many[1] <= MORE * few[1], (few, many)
