"""The built-in rules: a subset of the profile, for the owner."""

from __future__ import annotations

import os

import pytest

from brokerctl.config.rules import Rule, RuleLayer
from brokerctl.identity import Job
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.policy import Rules, decide, decide_kept

PROFILE = Profile(
    name="p",
    issuer="https://issuer.example",
    flow="device",
    client_id="c",
    scopes=("read", "write"),
    resource=("https://a.example",),
    audience=("a", "b"),
    max_ttl_s=600,
)


def request(**fields: object) -> TokenRequest:
    """Make the owner's request with some fields changed."""
    requester = Requester(uid=os.geteuid(), pid=1)
    return TokenRequest(profile="p", requester=requester).replace(**fields)


def test_as_the_profile_says() -> None:
    """A plain request gets the profile's own scopes and limit."""
    decision = decide(PROFILE, request())
    assert (decision.scopes, decision.max_ttl_s) == (("read", "write"), 600)
    assert decision.effect == "narrow"  # by the profile's max_ttl


@pytest.mark.parametrize(("asked", "left"), [(60, 60), (6000, 600)])
def test_shortest_limit_wins(asked: float, left: float) -> None:
    """A request can shorten the profile's max_ttl and never lengthen it."""
    assert decide(PROFILE, request(max_ttl_s=asked)).max_ttl_s == left


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": ("admin",)},
        {"scopes": ("read", "admin")},
        {"scopes": ()},
        {"resource": ("https://b.example",)},
        {"audience": ("a", "c")},
        {"requester": Requester(uid=os.geteuid() + 1, pid=1)},
    ],
)
def test_wider_is_denied(fields: dict[str, object]) -> None:
    """What the profile was not given, no request gets; the decision names its rule."""
    decision = decide(PROFILE, request(**fields))
    assert decision.effect == "deny"
    assert decision.rule
    assert decision.reason


def test_a_certificate_that_is_not_checked_needs_the_profile_s_word() -> None:
    """Security: the tool's own word, which may be from a file from elsewhere, is not enough."""
    assert decide(PROFILE, request(is_insecure=True)).effect == "deny"
    allowing = PROFILE.replace(insecure_ok=True)
    assert decide(allowing, request(is_insecure=True)).effect != "deny"
    assert decide(PROFILE.replace(insecure_ok=False), request(is_insecure=True)).effect == "deny"


def test_a_resource_that_is_not_sent_narrows_nothing() -> None:
    """At an issuer that takes no resource, only the profile's own can be had."""
    profile = PROFILE.replace(resource=("https://a.example", "https://b.example"))
    narrow = request(resource=("https://a.example",))
    assert decide(profile, narrow).effect == "narrow"
    assert decide(profile.replace(send_resource=False), narrow).effect == "deny"
    whole = request(resource=profile.resource)
    assert decide(profile.replace(send_resource=False), whole).effect == "narrow"


def test_narrowing() -> None:
    """A request for less gets less."""
    decision = decide(PROFILE, request(scopes=("read",)))
    assert (decision.effect, decision.scopes) == ("narrow", ("read",))


def test_an_audience_is_narrowed_as_a_resource_is() -> None:
    """A request without one has the profile's own; one that names some gets these alone."""
    plain = PROFILE.replace(max_ttl_s=None)
    assert (decide(plain, request()).effect, decide(plain, request()).audience) == (
        "allow",
        ("a", "b"),
    )
    narrow = decide(plain, request(audience=("b",)))
    assert (narrow.effect, narrow.audience) == ("narrow", ("b",))


def test_no_scope_is_the_issuers_choice_where_the_profile_has_none() -> None:
    """A profile without scopes leaves them to the issuer, and a request may say so."""
    assert decide(PROFILE.replace(scopes=()), request(scopes=())).effect == "narrow"
    assert decide(PROFILE, request(scopes=()), ("read",)).effect == "deny"


def test_another_user_gets_nothing_that_is_kept_either() -> None:
    """A tool's own credential is its owner's, as a profile's token is."""
    own = Requester(uid=os.geteuid(), pid=1)
    asked = TokenRequest(profile="", requester=own)
    assert (decide_kept(asked).effect, decide_kept(asked).rule) == ("allow", "helpers.keep")
    other = decide_kept(asked.replace(requester=own.replace(uid=os.geteuid() + 1)))
    assert (other.effect, other.rule) == ("deny", "owner only")


@pytest.mark.parametrize(
    "url", ["https://api.example:x/", "https://", "api.example", "https://a b/"]
)
def test_a_spelling_that_no_host_has_gets_nothing(url: str) -> None:
    """Security: what can't be read as one of the profile's hosts is none of them."""
    decision = decide(PROFILE.replace(hosts=("https://api.example",)), request(url=url))
    assert (decision.effect, decision.rule) == ("deny", "hosts of the profile")


def test_the_order_of_scopes_is_no_difference() -> None:
    """A request is what it asks for: the same token serves it however its words stand."""
    wanted = decide(PROFILE, request(scopes=("write", "read", "write")))
    assert wanted.scopes == ("read", "write")
    assert wanted == decide(PROFILE, request(scopes=("read", "write")))


def test_a_grant_for_another_issuer_keeps_what_a_project_narrowed() -> None:
    """Security: a chain is no way round a trusted project's scopes; it is for that issuer alone."""
    to = ("https://other.example", "https://r2.example", "https://r1.example")
    decision = decide(PROFILE, request(made_out_to=to), ("read",))
    assert (decision.scopes, decision.audience) == (("read",), to[:1])
    assert decision.resource == ("https://r1.example", "https://r2.example")
    foreign = request(made_out_to=to, requester=Requester(uid=os.geteuid() + 1, pid=1))
    assert decide(PROFILE, foreign).effect == "deny"


@pytest.mark.parametrize(("label", "effect"), [("user", "narrow"), ("project", "deny")])
def test_a_project_lifts_nothing(label: str, effect: str) -> None:
    """Neither what is denied to forks nor to agents: whoever commits could write such a rule."""
    rule = Rule(name="r", effect="allow", when={"fork": True})
    layers = (RuleLayer(label=label, default="profile", rules=(rule,)),)
    rules = Rules(layers, "d", 0.0, lambda _: None)
    fork = Job(platform="github", id="1", fork="of a stranger's")
    assert decide(PROFILE, request(), job=fork, rules=rules).effect == effect
    agent = request().replace(requester=request().requester.replace(agent="coder"))
    anything = (RuleLayer(label=label, default="profile", rules=(rule.replace(when={}),)),)
    found = decide(PROFILE, agent, rules=Rules(anything, "d", 0.0, lambda _: None))
    assert found.effect == effect
