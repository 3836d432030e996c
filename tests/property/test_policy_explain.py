"""Whatever the rules, the request and the facts: an explanation is the decision, with its rule."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brokerctl.config.rules import Rule, RuleLayer
from brokerctl.identity import Job
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.policy import Rules, decide
from brokerctl.policy.explain import explain

PROFILE = Profile(
    name="x",
    issuer="https://i.example",
    flow="code",
    client_id="c",
    scopes=("read", "write"),
    resource=("urn:a", "urn:b"),
    audience=("v",),
    hosts=("https://git.example",),
    max_ttl_s=3600,
)
ITEMS = st.sampled_from([["a"], ["b"], ["a", "b"], ["a*"], ["*"]])
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("tool", "subject", "agent", "branch", "exe", "parent"), ITEMS),
    **dict.fromkeys(("session", "tty", "fork"), st.booleans()),
    "profile": st.sampled_from([["x"], ["y"], ["x*"], ["*"]]),
    "purpose": st.one_of(ITEMS, st.just(value=True)),
    "scope": st.sampled_from([["read"], ["write"], ["w*"]]),
    "resource": st.sampled_from([["urn:a"], ["urn:*"], ["urn:c"]]),
    "host": st.sampled_from([["git.example"], ["b.example"]]),
    "time": st.sampled_from([[[0, 720]], [[720, 0]], [[600, 600]], [[0, 1440]]]),
    "days": st.sampled_from([["thu"], ["fri"]]),
    "login_age": st.sampled_from([60, 7200]),
    "method": st.just(["GET"]),
}
SUBSETS = st.sampled_from([None, ("read",), ("write",), ("read", "write"), ("other",)])


@st.composite
def rules(draw: st.DrawFn, effect: str) -> Rule:
    """Draw one rule of an effect."""
    names = draw(st.lists(st.sampled_from(list(CONDITIONS)), max_size=2, unique=True))
    is_denied = effect == "deny"
    return Rule(
        name=f"{effect} {draw(st.integers(0, 999))}",
        effect=effect,
        when={name: draw(CONDITIONS[name]) for name in names},
        scopes=None if is_denied else draw(SUBSETS),
        resource=None if is_denied else draw(st.sampled_from([None, ("urn:a",), ("urn:c",)])),
        max_ttl_s=None if is_denied else draw(st.sampled_from([None, 60, 7200])),
    )


LAYERS = st.lists(
    st.builds(
        lambda default, found: RuleLayer(label="", default=default, rules=tuple(found)),
        st.sampled_from(["deny", "profile"]),
        st.lists(
            st.sampled_from(["allow", "allow", "ask", "deny"]).flatmap(rules),
            min_size=1,
            max_size=4,
        ),
    ),
    max_size=3,
).map(
    lambda found: tuple(
        layer.replace(label=label)
        for layer, label in zip(found, ("system", "user", "project"), strict=False)
    )
)
REQUESTERS = st.builds(
    Requester,
    uid=st.sampled_from([os.geteuid(), os.geteuid(), os.geteuid() + 1]),
    pid=st.just(1),
    tool=st.sampled_from(["a", "b", "ab"]),
    exe=st.sampled_from([None, "a"]),
    parents=st.sampled_from([(), (("a", "b"),)]),
    agent=st.sampled_from([None, None, "a"]),
    session=st.sampled_from([None, "s"]),
)
REQUESTS = st.builds(
    TokenRequest,
    profile=st.just("x"),
    requester=REQUESTERS,
    subject=st.sampled_from([None, "a"]),
    scopes=st.sampled_from([None, None, ("read",), ("read", "write"), ("admin",), ()]),
    resource=st.sampled_from([None, ("urn:a",), ("urn:z",)]),
    purpose=st.sampled_from([None, "b"]),
    url=st.sampled_from([None, "https://git.example/x", "https://evil.example"]),
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "tty": st.booleans(),
        "login_age": st.sampled_from([0.0, 3600.0]),
        "branch": st.sampled_from(["a", "b"]),
    },
)
JOBS = st.sampled_from([None, None, Job(platform="p"), Job(platform="p", fork="it is one")])


@given(LAYERS, REQUESTS, FACTS, JOBS, st.sampled_from([0.0, 43200.0, 90000.0]))
def test_an_explanation_is_the_decision(
    layers: tuple[RuleLayer, ...],
    request: TokenRequest,
    facts: dict[str, Any],
    job: Job | None,
    now: float,
) -> None:
    """The same decision, and its rule among the steps that matched; each layer has its verdict."""
    in_force = Rules(layers, "d", now, facts.get) if layers else None
    decision, steps = explain(PROFILE, request, None, job, in_force)
    assert decision == decide(PROFILE, request, None, job, in_force)
    named = [step for step in steps if (step.layer, step.rule) == (decision.layer, decision.rule)]
    assert any(step.is_matched for step in named)
    for layer in layers:
        own = [step for step in steps if step.layer == layer.label]
        if own[0].is_matched is None:
            assert decision.layer == "built-in"
            continue
        assert [step.rule for step in own] == [*(rule.name for rule in layer.rules), "default"]
        assert own[-1].is_matched is not any(step.is_matched for step in own[:-1])
        assert all((step.condition is None) is bool(step.is_matched) for step in own[:-1])
        if any(step.is_matched and step.effect == "deny" for step in own):
            assert decision.effect == "deny"
