"""`policy explain`: the decision of a `get`, and each rule's part in it, in words."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import policy
from brokerctl.broker.supposed import AtTime, Supposed, explain_request
from brokerctl.config.rules import CONDITIONS, Rule, RuleLayer
from brokerctl.errors import IssuerError
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.policy import NO_FORKS, Rules, decide
from brokerctl.policy.explain import LIMITS, describe_mismatch, explain
from tests.unit.test_config_errors import compiled

if TYPE_CHECKING:
    from brokerctl.identity import Job
    from brokerctl.policy.explain import Step

MONDAY = 1767614400.0  # 2026-01-05, noon in UTC
PROFILE = Profile(
    name="work",
    issuer="https://issuer.example",
    flow="code",
    client_id="c",
    scopes=("read", "write"),
    resource=("https://a.example",),
    audience=("a",),
    hosts=("https://git.example",),
)
JOB_CONFIG = """[profile.deploy]
issuer = "https://issuer.example"
flow = "token_exchange"
client_id = "c"
identity = "auto"
scopes = ["deploy"]

[policy]
default = "deny"

[[policy.rule]]
name = "main"
when = { repository_id = "7", branch = "main" }
effect = "allow"

[[policy.rule]]
name = "forks too"
when = { fork = true, repository_id = "9" }
effect = "allow"
"""


def request(**fields: Any) -> TokenRequest:  # noqa: ANN401 - of a request
    """Return the owner's request, some of its fields or its requester's changed."""
    of_requester = {name: fields.pop(name) for name in Requester._fields if name in fields}
    requester = Requester(uid=os.geteuid(), pid=1).replace(**of_requester)
    return TokenRequest(profile="work", requester=requester).replace(**fields)


def steps_of(
    *rules: Rule,
    default: str = "deny",
    facts: dict[str, Any] | None = None,
    **asked: Any,  # noqa: ANN401 - as above
) -> dict[str, Step]:
    """Return the steps of one layer by their rules."""
    layer = RuleLayer(label="user", default=default, rules=rules)
    in_force = Rules((layer,), "x", MONDAY, (facts or {}).get)
    decision, steps = explain(PROFILE, request(**asked), rules=in_force)
    again = decide(PROFILE, request(**asked), rules=in_force)
    assert decision == again
    return {step.rule: step for step in steps if step.layer != "built-in"}


def rule(name: str = "r", effect: str = "allow", **when: Any) -> Rule:  # noqa: ANN401 - as above
    """Return a rule of these conditions."""
    return Rule(name=name, effect=effect, when=when)


@pytest.mark.parametrize(
    ("when", "asked", "why"),
    [
        ({"tool": ["git", "docker"]}, {"tool": "get"}, "tool is get, and must be git or docker"),
        ({"profile": ["home"]}, {}, "profile is work, and must be home"),
        ({"subject": ["bob"]}, {"subject": "eve"}, "subject is eve, and must be bob"),
        ({"subject": ["bob"]}, {}, "no subject is named; subject must be bob"),
        ({"agent": ["a*"]}, {}, "no agent asks; agent must be a*"),
        ({"session": True}, {}, "session is false, and must be true"),
        ({"purpose": True}, {}, "nobody gave a purpose; purpose must be true"),
        ({"purpose": ["x"]}, {"purpose": "y"}, "purpose is y, and must be x"),
        ({"uid": [7, 8]}, {}, f"uid is {os.geteuid()}, and must be 7 or 8"),
        ({"host": ["b.example"]}, {}, "no server is named; host must be b.example"),
        (
            {"host": ["b.example"]},
            {"url": "https://git.example/x"},
            "host is git.example, and must be b.example",
        ),
        ({"scope": ["admin"]}, {}, "scope is read write, and must be admin"),
        ({"resource": ["x"]}, {}, "resource is https://a.example, and must be x"),
        (
            {"method": ["GET"]},
            {},
            "no request of a gateway or proxy is decided; method must be GET",
        ),
        ({"time": [[480, 1110]]}, {}, None),
        (
            {"time": [[1320, 360]]},
            {},
            "time is 12:00 UTC, and must be 22:00-06:00 UTC",
        ),
        ({"days": ["sat", "sun"]}, {}, "days is mon, and must be sat or sun"),
        ({"exe": ["/bin/a"]}, {}, "exe can't be read; exe must be /bin/a"),
        ({"parent": ["sh"]}, {}, "parent is none, and must be sh"),
        (
            {"parent": ["sh"]},
            {"parents": (("make", "/usr/bin/make"),)},
            "parent is make /usr/bin/make, and must be sh",
        ),
        ({"fork": False}, {}, "no job's identity is used; fork must be false"),
        ({"tty": True}, {}, "tty can't be read; tty must be true"),
        ({"login_age": 3600}, {}, "no person's login is stored; login_age must be at most 1h"),
        ({"branch": ["main"]}, {}, "it is proven of no job; branch must be main"),
        (
            {"scope": list("abcdefgh")},
            {},
            "scope is read write, and must be a, b, c, d, e, f or 2 more",
        ),
    ],
)
def test_each_condition_says_what_it_wanted_and_what_it_found(
    when: dict[str, Any], asked: dict[str, Any], why: str | None
) -> None:
    """Wanted and found stand side by side; what is not known is named as such."""
    step = steps_of(rule(**when), **asked)["r"]
    if why is None:
        assert (step.is_matched, step.condition) == (True, None)
        return
    assert (step.is_matched, step.condition, step.why) == (False, next(iter(when)), why)


def test_no_condition_is_without_words() -> None:
    """Each key of `when` has something to say of a fact that is not known."""
    for name, one in CONDITIONS.items():
        wanted: Any = 60 if one.kind == "age" else [[0, 1]] if one.kind == "time" else ["x"]
        assert f"; {name} must be " in describe_mismatch(name, wanted, None)


def test_a_known_fact_that_costs_is_shown() -> None:
    """What was read for the rule is what the step says."""
    facts = {"tty": False, "login_age": 7200.5}
    assert steps_of(rule(tty=True), facts=facts)["r"].why == "tty is false, and must be true"
    said = steps_of(rule(login_age=3600), facts=facts)["r"].why
    assert said == "login_age is 2h, and must be at most 1h"


def test_which_rule_counts() -> None:
    """A rule that matches and does not count says which one goes before it."""
    steps = steps_of(rule("a"), rule("b"), rule("no", "deny", tool=["get"]))
    assert steps["a"].why == "it has no condition, but 'no' goes before it"
    assert steps["b"].why == "it has no condition, but 'no' goes before it"
    assert steps["no"].why == "all of its conditions hold"
    assert (steps["default"].is_matched, steps["default"].why) == (False, "a rule matches")
    assert steps_of(rule("a"), rule("b"))["b"].why.endswith("but 'a' goes before it")


def test_the_default_is_a_step() -> None:
    """Where no rule matches it is what decides, by its word."""
    step = steps_of(rule(tool=["git"]))["default"]
    assert (step.effect, step.is_matched) == ("deny", True)
    assert step.why == 'no rule matches, and default = "deny"'
    assert steps_of(rule(tool=["git"]), default="profile")["default"].effect == "allow"


def test_the_layer_of_an_agent_s_session() -> None:
    """An agent gets nothing by a default: that is a step too."""
    layer = RuleLayer(label="user", default="profile", rules=(rule(tool=["git"]),))
    rules = Rules((layer,), "x", MONDAY, lambda _: None)
    decision, steps = explain(PROFILE, request(agent="a", session="s"), rules=rules)
    assert (decision.effect, decision.layer) == ("deny", "session")
    assert (steps[-1].layer, steps[-1].is_matched) == ("session", True)
    allowed = RuleLayer(label="user", default="profile", rules=(rule(agent=["a"]),))
    rules = Rules((allowed,), "x", MONDAY, lambda _: None)
    _, steps = explain(PROFILE, request(agent="a", session="s"), rules=rules)
    assert (steps[-1].layer, steps[-1].is_matched) == ("session", False)


def test_each_built_in_limit_is_in_the_table() -> None:
    """A limit that `policy` gets later has its words here, or no step would be the one."""
    with open(policy.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    named = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "_deny"
        and isinstance(node.args[0], ast.Constant)
    }
    of_words = {f"{word}s of the profile" for word in ("scope", "resource", "audience")}
    assert named | of_words | {NO_FORKS} == set(LIMITS) - {"within the profile"}


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"url": "https://evil.example"}, "hosts of the profile"),
        ({"is_insecure": True}, "insecure_ok of the profile"),
        ({"uid": os.geteuid() + 1}, "owner only"),
        ({"scopes": ("admin",)}, "scopes of the profile"),
        ({"resource": ("https://b.example",)}, "resources of the profile"),
        ({"audience": ("b",)}, "audiences of the profile"),
        ({}, "within the profile"),
    ],
)
def test_the_built_in_limits_are_the_lowest_layer(asked: dict[str, Any], name: str) -> None:
    """They are looked at in their order, and after the one that denies nothing is."""
    layer = RuleLayer(label="user", default="deny", rules=(rule(tool=["git"]),))
    in_force = Rules((layer,), "x", MONDAY, lambda _: None)
    decision, steps = explain(PROFILE, request(**asked), rules=in_force)
    limits = [step for step in steps if step.layer == "built-in"]
    assert [step.rule for step in limits] == list(LIMITS)
    position = list(LIMITS).index(name)
    assert [step.is_matched for step in limits[:position]] == [False] * position
    assert limits[position].is_matched is True
    assert {step.is_matched for step in limits[position + 1 :]} <= {None}
    if name != "within the profile":
        assert (decision.rule, decision.layer) == (name, "built-in")
        assert limits[position].why == decision.reason
        assert [step.is_matched for step in steps if step.layer == "user"] == [None]


def job_config(**facts: Any) -> tuple[str, str]:  # noqa: ANN401 - a claim
    """Return effect and rule of a job's request with these claims."""
    plan = compiled(JOB_CONFIG)
    asked = request().replace(profile="deploy")
    _, decision, _ = explain_request(plan, asked, Supposed(plan, MONDAY, facts))
    return decision.effect, decision.rule


def test_claims_that_are_given_are_taken_as_proven() -> None:
    """A job's claims decide as if its platform had signed them; a fork is one by its claims."""
    assert job_config(repository_id="7", branch="main") == ("allow", "main")
    assert job_config(repository_id="7", branch="topic") == ("deny", "default")
    assert job_config(repository_id="7", branch="main", fork=True) == ("deny", NO_FORKS)
    assert job_config(repository_id="9", fork=True) == ("allow", "forks too")
    plan = compiled(JOB_CONFIG)
    supposed = Supposed(plan, MONDAY, {"repository_id": "9", "fork": True})
    _, _, steps = explain_request(plan, request().replace(profile="deploy"), supposed)
    [limit] = [step for step in steps if step.rule == NO_FORKS]
    assert limit.why.endswith(", but a rule is for forks by name")


def test_claims_are_nothing_to_a_profile_that_exchanges_no_identity() -> None:
    """As for a real request, so that an explanation is no better than what happens."""
    plan = compiled(
        JOB_CONFIG.replace('"token_exchange"', '"code"').replace('identity = "auto"', "")
    )
    asked = request().replace(profile="deploy")
    supposed = Supposed(plan, MONDAY, {"repository_id": "7", "branch": "main"})
    _, decision, steps = explain_request(plan, asked, supposed)
    assert decision.effect == "deny"
    assert [step.condition for step in steps if step.rule == "main"] == ["repository_id"]


def test_another_time_is_the_only_thing_that_changes() -> None:
    """What stands around the request is asked as before."""

    class Around:
        def find_job(self, _: object) -> Job | None:
            raise AssertionError

        def find_rules(self, *_: object) -> Rules:
            layer = RuleLayer(label="user", default="deny", rules=(rule(time=[[0, 60]]),))
            return Rules((layer,), "x", MONDAY, lambda _: None)

        def store_of(self, _: object) -> Any:  # noqa: ANN401 - never asked
            raise AssertionError

    plan = compiled(
        JOB_CONFIG.replace("deploy]", "work]")
        .replace('"token_exchange"', '"code"')
        .replace('identity = "auto"', "")
    )
    assert explain_request(plan, request(), Around())[1].effect == "deny"
    early = AtTime(Around(), MONDAY - 12 * 3600)
    assert explain_request(plan, request(), early)[1].effect == "allow"


def test_a_fact_is_read_once_and_one_that_fails_only_where_it_counts() -> None:
    """The decision raises what a `get` raises; a step that looks further does not."""
    asked: list[str] = []

    def read(name: str) -> Any:  # noqa: ANN401 - a fact
        asked.append(name)
        if name == "branch":
            raise IssuerError("the platform is down")
        return True

    rules = (rule("first", tty=True), rule("second", branch=["main"]))
    layer = RuleLayer(label="user", default="deny", rules=rules)
    decision, steps = explain(PROFILE, request(), rules=Rules((layer,), "x", MONDAY, read))
    assert decision.rule == "first"
    assert [step.is_matched for step in steps if step.rule == "second"] == [False]
    assert asked == ["tty", "branch"]
    layer = layer.replace(rules=rules[1:])
    with pytest.raises(IssuerError):
        explain(PROFILE, request(), rules=Rules((layer,), "x", MONDAY, read))
