"""`brokerctl policy`: what it explains is what `get` does, and it hands out and records nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.policy.starters import STARTERS
from tests.program import ROOT

if TYPE_CHECKING:
    from tests.program import Program

CONFIG = """[keys]
keeper = "file"

[profile.work]
issuer = "http://127.0.0.1:9"
flow = "code"
client_id = "c"
scopes = ["admin", "read", "write"]
hosts = ["https://git.example"]

[policy]
default = "deny"

[[policy.rule]]
name = "reads"
when = { tool = "get", purpose = true }
effect = "allow"
scopes = ["read"]
max_ttl = "15m"

[[policy.rule]]
name = "no admin"
when = { scope = "admin" }
effect = "deny"
reason = "ask the team"

[[policy.rule]]
name = "git writes"
when = { tool = "git", host = "git.example" }
effect = "ask"
"""


@pytest.fixture
def program(brokerctl: Program) -> Program:
    """Return the program with a policy; what is allowed is exit code 3, since nobody logged in."""
    brokerctl.config(CONFIG)
    return brokerctl


def explained(program: Program, *words: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON of an explanation, which is exit code 0 whatever it says."""
    done = program("policy", "explain", *words, "--json", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("options", "effect", "rule"),
    [
        (("--scope", "read", "--purpose", "p"), "narrow", "reads"),
        (("--scope", "read"), "deny", "default"),
        (("--scope", "write", "--purpose", "p"), "deny", "reads"),
        (("--purpose", "p"), "deny", "no admin"),
        (("--scope", "other"), "deny", "scopes of the profile"),
    ],
)
def test_a_get_does_what_is_explained(
    program: Program, options: tuple[str, ...], effect: str, rule: str
) -> None:
    """The same effect, the same rule, and a refusal in the same words."""
    found = explained(program, "work", *options)
    assert (found["effect"], found["rule"]) == (effect, rule)
    got = program("get", "work", *options, "--json")
    error = json.loads(got.stderr)["error"]
    if effect == "deny":
        assert (got.returncode, error["message"]) == (4, f"'work': {found['reason']}")
        assert error["rule"] == rule
        assert error["message"] in unwrapped(program("policy", "explain", "work", *options).stdout)
    else:
        assert got.returncode == 3


def unwrapped(text: str) -> str:
    """Return a text in one line, whatever its width was."""
    return " ".join(text.split())


def test_nothing_is_recorded(program: Program) -> None:
    """An explanation is no request: the log has what `get` wrote and no more."""
    program("get", "work")
    before = program("audit", "log").stdout
    for words in ((), ("--tool", "git"), ("--scope", "read", "--purpose", "p")):
        explained(program, "work", *words)
    assert program("audit", "log").stdout == before


def test_who_asks_can_be_supposed(program: Program) -> None:
    """Another tool, a server, an agent, a session, another time, a job's claims."""
    url = "https://git.example/a.git"
    asked = explained(program, "work", "--tool", "git", "--for", url, "--scope", "write")
    assert (asked["effect"], asked["rule"]) == ("ask", "git writes")
    assert explained(program, "--tool", "git", "--for", url, "--scope", "write") == asked
    agent = explained(program, "work", "--agent", "a", "--scope", "read")
    assert agent["steps"][-1]["layer"] == "session"
    claims = os.path.join(program.home, "claims.json")
    with open(claims, "w", encoding="utf-8") as file:
        json.dump({"repository": "a/b"}, file)
    assert explained(program, "work", "--as-ci", claims)["effect"] == "deny"
    for words in (("--at", "now"), ("--as-ci", "/nowhere")):
        assert program("policy", "explain", "work", *words).returncode == 2


def test_what_is_shown_fits_80_columns_and_moves_no_cursor(program: Program) -> None:
    """Names and reasons that others wrote come as they are, but for what controls a terminal."""
    text = CONFIG.replace('reason = "ask the team"', f'reason = "{"very long " * 19}"')
    program.config(text)
    shown = program("policy", "explain", "work", "--purpose", "p\x1b[2J\u202e").stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    program.config(text.replace("purpose = true", 'purpose = "p"'))
    shown = program("policy", "explain", "work", "--purpose", "p\x1b[2J\u202e").stdout
    assert r"purpose is p\x1b[2J\u202e, and must be p" in unwrapped(shown)


def test_a_broken_policy(program: Program) -> None:
    """Exit code 2 with the place and the nearest key, of each of the commands."""
    path = program.config(CONFIG.replace("max_ttl", "maxttl"))
    for words in (("check",), ("check", path), ("explain", "work")):
        done = program("policy", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{path}:19:1: unknown key 'maxttl'" in done.stderr
        assert "did you mean 'max_ttl'?" in done.stderr


def test_a_check_is_a_line_for_each_warning(program: Program) -> None:
    """With file, line and column as a compiler's; warnings are no failure."""
    done = program("policy", "check")
    path = os.path.join(program.home, "config.toml")
    assert done.returncode == 0
    assert f"{path}:16:10: evidence: rule 'reads': rests on tool and purpose alone" in done.stdout
    assert done.stderr == "brokerctl: 3 rules, 2 warnings\n"
    answer = json.loads(program("policy", "check", "--json").stdout)
    assert [one["kind"] for one in answer["warnings"]] == ["evidence", "evidence"]


def test_cases(program: Program) -> None:
    """All pass: 0; one fails: 1, with what was expected and what came."""
    path, shown = os.path.join(program.home, "cases.toml"), ""
    case = '[[case]]\nname = "c"\nrequest = {{ profile = "work" }}\nexpect = {{ rule = "{}" }}\n'
    for rule, code in (("no admin", 0), ("reads", 1)):
        with open(path, "w", encoding="utf-8") as file:
            file.write(case.format("no admin") + case.format(rule))
        done = program("policy", "test", path)
        assert (done.returncode, done.stderr) == (code, "")
        shown = done.stdout
        assert f"{2 - code} of 2 cases decided as expected\n" in shown
        assert json.loads(program("policy", "test", path, "--json").stdout)["failed"] == code
    assert f"{path}:5: c\n  rule:\n    - reads\n    + no admin\n" in shown
    assert program("policy", "test", "/nowhere").returncode == 2


@pytest.mark.parametrize("kind", STARTERS)
def test_a_policy_to_begin_with_is_added(brokerctl: Program, kind: str) -> None:
    """What is printed is what is written; check takes it, its cases pass, nothing is replaced."""
    before = CONFIG.partition("[policy]")[0]
    path = brokerctl.config(before)
    printed = brokerctl("policy", "init", kind).stdout
    done = brokerctl("policy", "init", kind, "--write")
    assert (done.returncode, done.stderr) == (0, "")
    with open(path, encoding="utf-8") as file:
        assert file.read() == f"{before}\n{printed}"
    assert brokerctl("policy", "check").returncode == 0
    cases = os.path.join(brokerctl.home, "policy-tests.toml")
    assert brokerctl("policy", "test", cases).returncode == 0
    with open(cases, encoding="utf-8") as file:
        assert file.read() == brokerctl("policy", "init", kind, "--tests").stdout
    assert brokerctl("policy", "init", kind, "--write").returncode == 2
    os.unlink(cases)
    again = brokerctl("policy", "init", kind, "--write")
    assert (again.returncode, os.path.exists(cases)) == (2, False)
    assert "there is a policy in this file already" in again.stderr


def test_the_example_s_cases(brokerctl: Program) -> None:
    """What examples/agents says of its policy is so."""
    cases = os.path.join(ROOT, "examples", "agents", "cases.toml")
    done = brokerctl("policy", "test", cases)
    assert (done.returncode, done.stdout) == (0, "5 of 5 cases decided as expected\n"), done.stderr
