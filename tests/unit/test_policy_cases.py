"""Cases beside a policy, how they are decided and compared; and the policies to begin with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.broker.supposed import decide_cases
from brokerctl.errors import UsageError
from brokerctl.policy.cases import parse_time, read_cases, read_claims
from brokerctl.policy.check import find_warnings
from brokerctl.policy.files import read_named
from brokerctl.policy.starters import STARTERS, get_starter

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.policy.cases import CaseResult

POLICY = """[policy]
default = "deny"

[[policy.rule]]
name = "git reads"
when = { tool = "git", time = "08:00-18:00" }
effect = "allow"
scopes = ["read"]
max_ttl = "15m"

[[policy.rule]]
name = "everything known"
effect = "allow"

[policy.rule.when]
agent = "a"
session = true
uid = 7
exe = "/bin/x"
parent = "make"
tty = true
exe_sha256 = "DIGEST"
login_age = "1h"
subject = "bob"
purpose = "p"
host = "git.example"
days = "sun"
""".replace("DIGEST", "0" * 64)
PROFILE = """[profile.work]
issuer = "https://i.example"
flow = "code"
client_id = "c"
scopes = ["read", "write"]
hosts = ["https://git.example"]
"""
CASE = '[[case]]\nname = "c"\nrequest = { profile = "work" }\n'


def environ(folder: Path) -> dict[str, str]:
    """Return the variables of a home that has no configuration."""
    return {"HOME": str(folder), "BROKERCTL_CONFIG": str(folder / "none.toml")}


def write(folder: Path, name: str, text: str) -> str:
    """Write a file and return its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def results(folder: Path, cases: str, policy: str = POLICY) -> list[CaseResult]:
    """Decide cases by a policy that stands beside them."""
    write(folder, "p.toml", policy)
    path = write(folder, "c.toml", 'layers = { user = "p.toml" }\n' + PROFILE + cases)
    return decide_cases(read_cases(path), environ(folder))


def test_a_case_that_passes_and_one_that_does_not(tmp_path: Path) -> None:
    """What is different is named, field by field, and what is not named is free."""
    cases = (
        CASE
        + 'facts = { tool = "git" }\nexpect = { effect = "narrow", scopes = ["read"] }\n'
        + CASE
        + 'facts = { tool = "git" }\nexpect = { effect = "allow", max_ttl = "1h" }\n'
        + CASE
        + 'expect = { rule = "default", layer = "user", scopes = [] }\n'
    )
    found = results(tmp_path, cases)
    assert [[one.field for one in result.differences] for result in found] == [
        [],
        ["effect", "max_ttl"],
        [],
    ]
    assert [(one.expected, one.found) for one in found[1].differences] == [
        ("allow", "narrow"),
        ("1h", "15m"),
    ]
    assert found[1].case.line == 13


def test_a_time_is_what_the_case_says(tmp_path: Path) -> None:
    """As TOML's own or as text; without one it is a Monday at noon, whenever the case is run."""
    late = 'facts = { tool = "git", time = %s }\nexpect = { effect = "deny" }\n'
    cases = CASE + late % "2026-01-05T18:00:00Z" + CASE + late % '"2026-01-05T23:00:00+01:00"'
    cases += CASE + 'facts = { tool = "git" }\nexpect = { effect = "narrow" }\n'
    assert not [one for one in results(tmp_path, cases) if one.differences]


def test_every_fact_can_be_named(tmp_path: Path) -> None:
    """All conditions of one rule at once: each is compared with what the case says of it."""
    facts = {
        "agent": '"a"',
        "uid": str(os.geteuid()),
        "exe": '"/bin/x"',
        "parent": '["make"]',
        "tty": "true",
        "exe_sha256": f'"{"0" * 64}"',
        "login_age": '"5m"',
        "time": "2026-01-04T00:00:00Z",
    }
    asked = 'profile = "work", subject = "bob", purpose = "p", url = "https://git.example/x"'
    policy = POLICY.replace("uid = 7", f"uid = {os.geteuid()}")

    def case(left_out: str | None) -> str:
        told = ", ".join(f"{key} = {one}" for key, one in facts.items() if key != left_out)
        return f'[[case]]\nname = "{left_out}"\nrequest = {{ {asked} }}\nfacts = {{ {told} }}\n'

    whole = case(None) + 'expect = { effect = "allow", rule = "everything known" }\n'
    others = [name for name in facts if name != "uid"]
    cases = whole + "".join(case(name) + 'expect = { effect = "deny" }\n' for name in others)
    assert not [one.case.name for one in results(tmp_path, cases, policy) if one.differences]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: a file has 1 to"),
        ("case = 3\n", "1:1: case must be tables"),
        ("[[cases]]\n", "1:1: unknown key 'cases'"),
        ("[[case]]\n", "1:1: name is missing"),
        ("[[case]]\nname = ''\nrequest = {}\nexpect = {}\n", "3:1: profile is missing"),
        (CASE, "1:1: expect is missing"),
        (CASE + "expect = {}\n", "4:1: nothing is expected"),
        (CASE + "expect = { efect = 'deny' }\n", "4:12: unknown key 'efect'"),
        (CASE + "expect = { effect = 'maybe' }\n", "4:12: effect: must be one of allow, narrow"),
        (CASE + "expect = 3\n", "4:1: expect must be a table"),
        (CASE + "facts = { tol = 'x' }\nexpect = { effect = 'deny' }\n", "4:11: unknown key 'tol'"),
        (
            CASE + "facts = { time = 'now' }\nexpect = { effect = 'deny' }\n",
            "4:11: time: 'now' is no time in RFC 3339",
        ),
        (
            CASE + "facts = { time = '2026-01-05T09:00:00' }\nexpect = { effect = 'deny' }\n",
            "4:11: time: '2026-01-05T09:00:00' has no offset",
        ),
        (CASE + "facts = { tty = 1 }\nexpect = { effect = 'deny' }\n", "4:11: tty: must be true"),
        (
            CASE + "facts = { uid = -1 }\nexpect = { effect = 'deny' }\n",
            "4:11: uid: must be a user",
        ),
        (
            CASE + "facts = { login_age = 5 }\nexpect = { effect = 'deny' }\n",
            "4:11: login_age: must be a duration",
        ),
        (CASE.replace("work", "x") + "expect = { effect = 'deny' }\n", "1:1: c: no profile 'x'"),
        ("[layers]\nuser = 'gone.toml'\n" + CASE + "expect = { rule = 'x' }\n", "can't read"),
        ("[layers]\nusr = 'a'\n" + CASE + "expect = { rule = 'x' }\n", "2:1: unknown key 'usr'"),
        ("a =", "1:4: invalid value"),
    ],
)
def test_a_broken_file_has_its_place(tmp_path: Path, text: str, message: str) -> None:
    """As of a configuration: file, line, column; and nothing was tested."""
    path = write(tmp_path, "c.toml", text)
    with pytest.raises(UsageError) as caught:
        decide_cases(read_cases(path), environ(tmp_path))
    assert message in caught.value.message
    assert caught.value.message.startswith(path) or message == "can't read"


@pytest.mark.parametrize("name", STARTERS)
def test_a_policy_to_begin_with_passes_its_check_and_its_cases(tmp_path: Path, name: str) -> None:
    """Each is one that `check` takes, every rule of which a case of its own shows."""
    starter = get_starter(name)
    policy = write(tmp_path, "p.toml", starter.policy)
    checked, _ = read_named([policy], environ(tmp_path))
    source, layer = checked[0].source, checked[0].layer
    assert layer is not None
    assert len(layer.rules) >= 3
    path = write(tmp_path, "c.toml", 'layers = { user = "p.toml" }\n' + starter.cases)
    cases = read_cases(path)
    found = decide_cases(cases, environ(tmp_path))
    assert not [(one.case.name, one.differences) for one in found if one.differences]
    assert {one.decision.rule for one in found} >= {rule.name for rule in layer.rules}
    own, _ = read_named(
        [write(tmp_path, "q.toml", starter.cases.partition("[[case]]")[0])], environ(tmp_path)
    )
    assert own[0].layer is None
    profiles = read_named([path.replace("c.toml", "q.toml")], environ(tmp_path))[1]
    kinds = {one.kind for one in find_warnings(checked, profiles, ("get",))}
    assert kinds <= {"evidence", "default_allows", "unknown"}
    assert source.text.count("#") >= 2


def test_no_policy_of_that_name() -> None:
    """The hint has those that there are."""
    with pytest.raises(UsageError) as caught:
        get_starter("x")
    assert caught.value.hint == "one of agents, ci, team"


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ('{"repository": "a/b", "repository_id": 7}', {"repository": "a/b", "repository_id": "7"}),
        ('{"platform": "github", "fork": "false"}', {"ci": "github", "fork": False}),
        ('{"ci": "gitlab", "fork": true, "sub": "x"}', {"ci": "gitlab", "fork": True}),
        ("{}", {}),
    ],
)
def test_claims_are_named_as_conditions_are(
    tmp_path: Path, text: str, claims: dict[str, object]
) -> None:
    """A number is its digits, and what no rule speaks of is passed over."""
    assert read_claims(write(tmp_path, "c.json", text)) == claims


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"repositry": "a"}', "unknown claim 'repositry'"),
        ('{"branch": []}', "must be 1 to 1024 characters"),
        ('{"branch": ""}', "must be 1 to 1024 characters"),
        ('{"fork": "perhaps"}', "must be true or false"),
    ],
)
def test_claims_that_can_not_be_meant(tmp_path: Path, text: str, message: str) -> None:
    """A slip in a claim's name would explain another job than the one that is meant."""
    with pytest.raises(UsageError, match=message):
        read_claims(write(tmp_path, "c.json", text))


@pytest.mark.parametrize("path", ["/nowhere/x", "/", "a\0b"])
def test_a_file_that_can_not_be_read(path: str) -> None:
    """It is a mistake of the command line."""
    with pytest.raises(UsageError, match="can't read"):
        read_claims(path)


def test_a_time_before_1970_is_its_begin() -> None:
    """A clock can't be there."""
    assert parse_time("1969-12-31T23:00:00Z") == 0
    assert parse_time("1970-01-01T01:00:00+00:00") == 3600
