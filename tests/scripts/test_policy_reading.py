"""`brokerctl policy who` and `policy diff`: the commands as a person and a program read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.program import Program

PROFILE = """[keys]
keeper = "file"

[profile.work]
issuer = "http://127.0.0.1:9"
flow = "code"
client_id = "c"
scopes = ["read", "write"]
hosts = ["https://git.example"]
"""
POLICY = """
[policy]
default = "deny"

[[policy.rule]]
name = "reads"
when = { tool = "get", purpose = true }
effect = "allow"
scopes = ["read"]
max_ttl = "15m"

[[policy.rule]]
name = "not at night"
when = { time = "22:00-06:00" }
effect = "deny"
"""


@pytest.fixture
def program(brokerctl: Program) -> Program:
    """Return the program with a policy; what is allowed is exit code 3, since nobody logged in."""
    brokerctl.config(PROFILE + POLICY)
    return brokerctl


def answer(program: Program, *words: str) -> dict[str, Any]:
    """Return the JSON of an answer, which is exit code 0 whatever it says."""
    done = program("policy", *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_who(program: Program) -> None:
    """Whoever gives a purpose reads by day; nobody else gets anything, and an agent no more."""
    (found,) = answer(program, "who")["profiles"]
    given = [one for one in found["access"] if one["effect"] != "deny"]
    assert [one["may"] for one in given] == [["use", "refresh"]]
    assert given[0]["when"] == [
        {"fact": "purpose", "values": ["*"]},
        {"fact": "time", "values": ["06:00-22:00"]},
    ]
    assert (given[0]["tool"], given[0]["scopes"], given[0]["max_ttl"]) == (["get"], ["read"], 900)
    text = program("policy", "who").stdout
    assert "  narrow use, refresh: tool get; purpose *; time 06:00-22:00\n" in text
    assert max(map(len, text.splitlines())) <= 80
    (found,) = answer(program, "who", "--profile", "work", "--scope", "write")["profiles"]
    assert {one["effect"] for one in found["access"]} == {"deny"}
    assert program("policy", "who", "--profile", "nope").returncode == 2


def test_diff(program: Program, tmp_path: Path) -> None:
    """A change is tried on what was recorded, and nothing is recorded by that."""
    program.config(PROFILE)
    for purpose in ("release", "repair"):  # two refusals that are the same would be counted as one
        program("get", "work", env={"BROKERCTL_PURPOSE": purpose})
    new = tmp_path / "new.toml"
    new.write_text(POLICY.replace('tool = "get"', 'tool = "git"'))
    before = program("audit", "log", "--json").stdout
    found = answer(program, "diff", "-", str(new))
    assert (found["requests"], found["changed"]) == (2, 2), found
    assert answer(program, "diff", "-", str(new), "--limit", "1")["changed"] == 1
    assert answer(program, "diff", str(new), str(new))["changed"] == 0
    assert answer(program, "diff", "-", "-")["same"] == 2
    text = program("policy", "diff", "-", str(new)).stdout
    assert text.startswith(
        "2 of 2 requests would be decided otherwise\nwork by get: 2, the last on "
    )
    assert "\n  + deny: " in text
    assert program("audit", "log", "--json").stdout == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-", "nope.toml"), "nope.toml"),
        (("nope.toml", "-"), "nope.toml"),
        (("-", "-", "--layer", "home"), "no layer"),
        (("-", "broken.toml"), "broken.toml:3:1"),
    ],
)
def test_what_can_t_be_compared(
    program: Program, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    """A wrong file is exit code 2 with its place, as for every command."""
    (tmp_path / "broken.toml").write_text('[policy]\ndefault = "deny"\nrules = 1\n')
    paths = [str(tmp_path / one) if one == "broken.toml" else one for one in words]
    done = program("policy", "diff", *paths)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_record_of_rules_says_what_was_asked(program: Program) -> None:
    """Also a purpose that is spelled as the tool's name, which the record else has of none."""
    program("get", "work", "--scope", "read", env={"BROKERCTL_PURPOSE": "get"})
    lines = program("audit", "log", "--json").stdout.splitlines()
    assert json.loads(lines[-1])["asked"] == {"scopes": ["read"], "purpose": "get"}
