"""`policy check`: rules that say something else than they seem to, each with its place."""

from __future__ import annotations

import pytest

from brokerctl.config.compile import compile_layers, read_layer
from brokerctl.config.layers import Layer, Layers
from brokerctl.config.rules import Rule
from brokerctl.config.source import parse_layer
from brokerctl.policy.check import Checked, Warned, _Candidates, find_warnings, implies
from tests.unit.test_config_errors import ENVIRON, GOOD

JOB = GOOD.replace("[profile.x]", "[profile.job]").replace("code", "token_exchange")
JOB += 'identity = "auto"\n'
PROFILES = GOOD + 'scopes = ["read", "write"]\n' + JOB
DENY = '[policy]\ndefault = "deny"\n'
TOOLS = ("git", "get")


def warned(policy: str, *, label: str = "user", profiles: str = PROFILES) -> list[Warned]:
    """Return what is found in a policy that stands in a file of its own."""
    layer = Layer(label=label, path="/p.toml", content=policy.encode())
    source = parse_layer(layer)
    assert source is not None
    base = Layers(files=(Layer(label="system", path="/s", content=profiles.encode()),))
    plan = compile_layers(base, ENVIRON)
    compile_layers(base.replace(files=(*base.files, layer)), ENVIRON)
    return find_warnings([Checked(source=source, layer=read_layer(source))], plan.profiles, TOOLS)


def rule(name: str, effect: str, when: str = "", more: str = "") -> str:
    """Return one rule as TOML, of five lines."""
    return f'[[policy.rule]]\nname = "{name}"\neffect = "{effect}"\nwhen = {{ {when} }}\n{more}\n'


def kinds(policy: str, **given: str) -> list[tuple[str, int, int]]:
    """Return kind, line and column of what is found."""
    return [(one.kind, one.line, one.column) for one in warned(policy, **given)]


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (DENY + rule("a", "allow", "uid = 7"), []),
        (DENY + rule("a", "allow") + rule("b", "allow", "uid = 7"), [("unreachable", 9, 1)]),
        (DENY + rule("a", "allow", "uid = 7") + rule("b", "allow"), []),
        (DENY + rule("a", "allow", "uid = 7") + rule("b", "deny"), [("unreachable", 4, 1)]),
        (DENY + rule("a", "ask", "uid = 7") + rule("b", "deny"), [("unreachable", 4, 1)]),
        (DENY + rule("a", "allow", "uid = 7") + rule("b", "ask"), [("unreachable", 4, 1)]),
        (DENY + rule("a", "ask", "uid = 7") + rule("b", "allow"), []),
        (DENY + rule("a", "deny", "uid = 7") + rule("b", "allow"), []),
        (DENY + rule("a", "deny") + rule("b", "deny", "uid = 7"), [("unreachable", 9, 1)]),
        (
            DENY + rule("a", "allow", "uid = 7") + rule("b", "deny", "uid = 7"),
            [("contradiction", 4, 1)],
        ),
        (
            DENY
            + rule("a", "allow", 'scope = "read"')
            + rule("b", "allow", 'scope = ["read", "write"]'),
            [],
        ),
        (
            DENY
            + rule("a", "allow", 'scope = ["read", "write"]')
            + rule("b", "allow", 'scope = "read"'),
            [("unreachable", 9, 1)],
        ),
        (
            DENY + rule("a", "deny", 'time = "00:00-24:00"') + rule("b", "allow", 'days = ["mon"]'),
            [("unreachable", 9, 1)],
        ),
        (DENY + rule("a", "allow", 'time = "08:00-08:00"'), [("never", 6, 10)]),
        (DENY + rule("a", "allow", 'time = ["08:00-09:00", "10:00-10:00"]'), [("never", 6, 10)]),
        (DENY + rule("a", "allow", 'method = "GET"'), []),
        (DENY + rule("a", "allow", 'path = "/a"'), []),
        (
            DENY + rule("a", "allow", 'profile = "x", branch = "main"'),
            [("never", 6, 25)],
        ),
        (DENY + rule("a", "allow", 'profile = "job", branch = "main"'), []),
        (DENY + rule("a", "allow", 'branch = "main"'), []),
        (DENY + rule("a", "allow", 'profile = "job", login_age = "1h"'), [("never", 6, 27)]),
        (DENY + rule("a", "allow", 'profile = "x", login_age = "1h"'), []),
        (DENY + rule("a", "allow", 'tool = "git"'), [("evidence", 6, 10)]),
        (DENY + rule("a", "deny", 'uid = 7, exe = "/bin/x"'), [("evidence", 6, 19)]),
        (DENY + rule("a", "allow", 'tool = "git", login_age = "1h"'), []),
        (DENY + rule("a", "allow", 'tool = "git", repository_id = "7"'), []),
        (DENY + rule("a", "allow", 'repository = "a/b"'), [("repository", 6, 10)]),
        (DENY + rule("a", "allow", 'repository = "a/b", repository_id = "7"'), []),
        (DENY + rule("a", "allow", 'profile = "y"'), [("unknown", 6, 10)]),
        (DENY + rule("a", "allow", 'profile = ["x", "y*"]'), [("unknown", 6, 10)]),
        (DENY + rule("a", "allow", 'profile = "*"'), []),
        (
            DENY + rule("a", "allow", 'tool = "gti", uid = 7'),
            [("evidence", 6, 10), ("unknown", 6, 10)],
        ),
        (DENY + rule("a", "allow", 'profile = "x", scope = "adm*"'), [("unknown", 6, 25)]),
        (DENY + rule("a", "allow", 'profile = "job", scope = "adm*"'), []),
        (
            DENY + rule("a", "allow", 'profile = "x"', 'scopes = ["read", "raed"]'),
            [("unknown", 7, 1)],
        ),
        (DENY + rule("a", "allow", "", 'audience = ["z"]'), [("unknown", 7, 1)]),
        ('[policy]\ndefault = "deny"\n', [("no_vote", 2, 1)]),
        ("", []),
        (
            DENY.replace("deny", "profile") + rule("a", "deny", "uid = 7"),
            [("default_allows", 2, 1)],
        ),
        (
            DENY.replace("deny", "profile") + rule("a", "allow", "uid = 7"),
            [("default_allows", 2, 1)],
        ),
    ],
)
def test_what_is_warned_of(policy: str, found: list[tuple[str, int, int]]) -> None:
    """Each slip has its kind and its place, and a policy without one has none."""
    assert kinds(policy) == found


def test_what_a_project_can_not_give() -> None:
    """A project's rule that allows and narrows nothing changes nothing beside its default."""
    text = DENY.replace("deny", "profile")
    plain, narrow = rule("a", "allow", "uid = 7"), rule("b", "allow", "", 'max_ttl = "5m"')
    found = [one.kind for one in warned(text + plain, label="project")]
    assert found == ["default_allows", "no_effect"]
    assert [one.kind for one in warned(text + plain + narrow, label="project")] == found[:1]
    assert [one.kind for one in warned(text + narrow, label="project")] == found[:1]
    assert warned(DENY + plain, label="project") == []


def test_a_warning_names_the_rule_and_what_to_do() -> None:
    """The message is of the rule; the hint says what to write instead."""
    policy = DENY + rule("a", "allow", "uid = 7") + rule("b", "deny", "uid = 7")
    assert warned(policy)[0].message == "rule 'a': rule 'b' denies the same"
    assert warned(policy)[0].rule == "a"
    [star] = warned(DENY + rule("a", "allow", 'profile = "x*"'))
    assert star.message == "rule 'a': there is no profile x*"
    assert star.hint == "'*' is at least one character more"
    [default] = warned(DENY.replace("deny", "profile") + rule("a", "allow", "uid = 7"))
    assert "can only narrow" in default.message
    assert default.rule is None


@pytest.mark.parametrize(
    ("outer", "inner", "is_implied"),
    [
        ({"tool": ["git"]}, {"tool": ["git"]}, True),
        ({"tool": ["g*"]}, {"tool": ["git"]}, True),
        ({"tool": ["git*"]}, {"tool": ["git"]}, False),
        ({"tool": ["g*"]}, {"tool": ["gi*"]}, True),
        ({"tool": ["gi*"]}, {"tool": ["g*"]}, False),
        ({"tool": ["git", "get"]}, {"tool": ["get"], "uid": [7]}, True),
        ({"tool": ["git"], "uid": [7]}, {"tool": ["git"]}, False),
        ({"session": True}, {"session": False}, False),
        ({"purpose": True}, {"purpose": ["x"]}, True),
        ({"purpose": ["x"]}, {"purpose": True}, False),
        ({"login_age": 60}, {"login_age": 30}, True),
        ({"login_age": 30}, {"login_age": 60}, False),
        ({"path": ["/a"]}, {"path": ["/a/b"]}, True),
        ({"path": ["/a"]}, {"path": ["/ab"]}, False),
        ({"time": [[1320, 360]]}, {"time": [[0, 60], [1380, 1440]]}, True),
        ({"time": [[1320, 360]]}, {"time": [[300, 420]]}, False),
        ({"time": [[0, 1440]]}, {}, True),
        ({"time": [[480, 0], [0, 480]]}, {}, True),
        ({"time": [[480, 480]]}, {}, False),
        ({"days": ["sat", "sun"]}, {"days": ["sun"]}, True),
        ({"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}, {}, True),
        ({}, {"tool": ["git"]}, True),
        ({"tool": ["git"]}, {}, False),
    ],
)
def test_what_goes_before_what(
    outer: dict[str, object], inner: dict[str, object], *, is_implied: bool
) -> None:
    """A rule goes always before another where it matches whatever the other does."""
    one, other = (Rule(name="r", effect="allow", when=when) for when in (inner, outer))
    assert implies(one, other) is is_implied


def test_as_many_rules_as_there_can_be() -> None:
    """No rule is compared with each other one, and no file is read anew for each warning."""
    rules = "".join(
        rule(f"r{number}", "allow", f'profile = "p{number % 7}", tool = "t{number}"')
        for number in range(2000)
    )
    source = parse_layer(Layer(label="user", path="/p.toml", content=(DENY + rules).encode()))
    assert source is not None
    layer = read_layer(source)
    assert layer is not None
    candidates = _Candidates(layer.rules)
    compared = sum(len(candidates.find(one)) for one in layer.rules)
    assert compared == len(layer.rules)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('tool = ["git", "get"]', 'tool = "get", uid = 7'),
        ('tool = "g*"', 'tool = "get"'),
        ("uid = [7, 8]", "uid = 8"),
        ('days = ["sat", "sun"]', 'days = "sun"'),
        ('purpose = "p"', 'purpose = "p", uid = 7'),
        ("purpose = true", 'purpose = "p"'),
        ("session = true", 'session = true, tool = "git"'),
        ('tool = "git", profile = "x"', 'tool = "git", profile = "x"'),
        ('path = "/a"', 'path = "/a/b"'),
        ('login_age = "2h"', 'login_age = "1h"'),
    ],
)
def test_a_rule_is_found_among_many(first: str, second: str) -> None:
    """Whatever its conditions are: the one that goes before another is among those compared."""
    others = "".join(rule(f"o{number}", "allow", f'tool = "o{number}"') for number in range(9))
    policy = DENY + rule("a", "allow", first) + others + rule("b", "allow", second)
    found = [one for one in warned(policy) if one.kind == "unreachable"]
    assert [(one.rule, one.message) for one in found] == [
        ("b", "rule 'b': rule 'a' goes before it, always")
    ]
