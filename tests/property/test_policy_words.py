"""Promises of the language of `[policy]` that hold for every text."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from brokerctl.config.compile import compile_layers
from brokerctl.config.edit import render_value
from brokerctl.config.layers import Layer, Layers
from brokerctl.config.plan import Plan, parse_plan, render_plan
from brokerctl.config.rules import CONDITIONS, EFFECTS, can_match
from brokerctl.errors import UsageError
from brokerctl.policy.check import implies

ENVIRON = {"HOME": "/home/someone"}
KEYS = ("name", "when", "effect", "scopes", "resource", "audience", "max_ttl", "uses", "rate")
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["*", "a*", "git", "/usr/bin/*", "08:00-18:00", "22:00-05:00", "mon", "15m"]),
    st.sampled_from(["git.example", "git.example:8443", "GET", "/a/b", "10/1m", "deny", "a" * 64]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(TEXTS, st.booleans(), st.integers(-2, 2**33)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
ODD_RULES = st.dictionaries(
    st.one_of(st.sampled_from([*KEYS, "reason", "whem"]), st.text(max_size=4)),
    st.one_of(VALUES, st.dictionaries(st.sampled_from([*CONDITIONS, "tol"]), VALUES, max_size=3)),
    max_size=5,
)
WORDS = st.from_regex(r"[a-z][a-z0-9:/_-]{0,8}\*?", fullmatch=True)
SPANS = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).map(
    lambda span: "-".join(f"{one // 60:02}:{one % 60:02}" for one in span)
)
NAMED = st.one_of(WORDS, st.lists(WORDS, min_size=1, max_size=3))
CONDITION: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("subject", "tool", "agent", "scope", "resource", "parent", "event"), NAMED),
    **dict.fromkeys(("ci", "repository", "repository_id", "branch", "environment"), NAMED),
    **dict.fromkeys(("session", "tty", "fork"), st.booleans()),
    "profile": st.sampled_from(["x", "x*", ["x", "y-*"], "*"]),
    "purpose": st.one_of(st.just(value=True), NAMED),
    "uid": st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), min_size=1, max_size=2)),
    "host": st.sampled_from(["a.example", "a.example:*", "*", ["A.example", "b.example:99"]]),
    "method": st.sampled_from(["GET", ["GET", "POST"]]),
    "path": st.sampled_from(["/", "/a/", ["/a", "/b/c"]]),
    "time": st.one_of(SPANS, st.lists(SPANS, min_size=1, max_size=2)),
    "days": st.lists(st.sampled_from(["mon", "sat", "sun"]), min_size=1),
    "exe": st.sampled_from(["/bin/x", "/usr/bin/*", "*"]),
    "login_age": st.sampled_from(["1s", "8h", "30d"]),
    "exe_sha256": st.just("0" * 64),
}
NARROWING = st.fixed_dictionaries(
    {},
    optional={
        "scopes": st.lists(st.sampled_from(["read", "write"]), min_size=1),
        "resource": st.lists(st.sampled_from(["urn:a", "urn:b"]), min_size=1),
        "max_ttl": st.sampled_from(["5m", "1h"]),
        "reason": st.just("because"),
    },
)


@st.composite
def right_rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw rules that can all be meant."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        effect = draw(st.sampled_from(EFFECTS))
        names = draw(st.lists(st.sampled_from(list(CONDITION)), max_size=4, unique=True))
        one: dict[str, Any] = {"name": f"r{number}", "effect": effect}
        one |= {"when": {name: draw(CONDITION[name]) for name in names}}
        narrowing = draw(NARROWING)
        found.append(one | ({} if effect == "deny" else narrowing))
    return found


def compiled(text: str) -> Plan:
    """Compile one user file."""
    found = compiled_or_refused(text.encode())
    assert isinstance(found, Plan)
    return found


def compiled_or_refused(data: bytes) -> Plan | UsageError:
    """Compile one user file; the error of one that can't be meant, and of no other kind."""
    layer = Layer(label="user", path="/c.toml", content=data)
    try:
        return compile_layers(Layers(files=(layer,)), ENVIRON)
    except UsageError as error:
        return error


def with_rules(rules: list[dict[str, Any]]) -> str:
    """Return a configuration with a profile and these rules."""
    profile = '[profile.x]\nissuer = "https://i.example"\nflow = "code"\nclient_id = "c"\n'
    return f"{profile}[policy]\ndefault = 'deny'\nrule = {render_value(rules)}\n"


@given(st.lists(ODD_RULES, max_size=3), st.one_of(st.just("deny"), VALUES))
def test_odd_rules_are_refused_with_their_place(rules: list[dict[str, Any]], default: Any) -> None:  # noqa: ANN401 - what TOML holds
    """Whatever stands in `[policy]`: it compiles, or one error says where it is wrong."""
    try:
        text = f"[policy]\ndefault = {render_value(default)}\nrule = {render_value(rules)}\n"
    except UsageError:
        return  # a text that TOML has no form for
    found = compiled_or_refused(text.encode())
    if isinstance(found, Plan):
        assert parse_plan(render_plan(found)) is not None
        return
    path, line, column, _ = found.message.split(":", 3)
    assert (path, int(line) > 0, int(column) > 0) == ("/c.toml", True, True)
    assert found.hint


@given(st.binary(max_size=200))
def test_any_bytes_after_a_policy_are_refused_or_taken(data: bytes) -> None:
    """UsageError and nothing else, whatever follows."""
    found = compiled_or_refused(b"[[policy.rule]]\n" + data)
    assert isinstance(found, Plan) or found.message.startswith("/c.toml:")


@given(right_rules())
def test_what_is_taken_survives_the_plan(rules: list[dict[str, Any]]) -> None:
    """Rendered and parsed, all rules are what they were, and so are those of a profile's part."""
    plan = compiled(with_rules(rules))
    for one in (plan, plan.part("x")):
        again = parse_plan(render_plan(one))
        assert again is not None
        assert render_plan(again) == render_plan(one)
    assert [rule.name for rule in plan.policy[0].rules] == [rule["name"] for rule in rules]
    kept = {rule.name for rule in plan.part("x").policy[0].rules}
    assert kept == {rule.name for rule in plan.policy[0].rules if can_match(rule, "x")}


@given(right_rules())
def test_conditions_keep_their_order_and_their_words(rules: list[dict[str, Any]]) -> None:
    """Cheap ones are looked at first; an item that was written is there, or one that says it."""
    for rule, written in zip(compiled(with_rules(rules)).policy[0].rules, rules, strict=True):
        assert list(rule.when) == [name for name in CONDITIONS if name in written["when"]]
        assert rule.effect == written["effect"]
        assert implies(rule, rule)


@settings(max_examples=50)
@given(right_rules(), st.integers(0, 10**6))
def test_one_byte_less_is_never_a_traceback(rules: list[dict[str, Any]], at: int) -> None:
    """A policy with a hole in it is one that can be meant, or is refused."""
    text = with_rules(rules)
    at %= len(text)
    found = compiled_or_refused((text[:at] + text[at + 1 :]).encode())
    assert isinstance(found, Plan) or found.message.startswith(("/c.toml:", "profile '"))
