"""Less than an AWS role may do: what is asked for, what STS is sent, and what is refused here."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl import policy
from brokerctl.broker.request import DecidedRequest
from brokerctl.config.session_policies import find_problem, parameters
from brokerctl.errors import OAuthError
from brokerctl.model import Decision, Profile, Requester, TokenRequest
from brokerctl.oauth.flows import find_flow
from brokerctl.secret import Secret
from tests.contracts.test_flow_contract import OF_FILE
from tests.emulations.session_policies import TOO_LARGE, allows, matches, refusal, statements
from tests.flows import context, form_of, play, sts_answer, sts_error

ROLE = "arn:aws:iam::123456789012:role/deploy"
BUCKET = "arn:aws:s3:::shop/*"
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
OWN = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": ["s3:*", "sqs:Send*"], "Resource": "*"},
}


def role(own: object = None) -> Profile:
    """Return a profile of a role, with a policy of its own if one is given."""
    sent = {"RoleSessionName": "ci"} | ({} if own is None else {"Policy": json.dumps(own)})
    return Profile(
        name="deploy",
        issuer="https://sts.amazonaws.com",
        flow="aws_web_identity",
        client_id=ROLE,
        extra=json.dumps(sent, sort_keys=True, separators=(",", ":")),
        exchange=OF_FILE,
        endpoints=(("token_endpoint", "https://sts.amazonaws.com/"),),
    )


def decided(profile: Profile, **asked: Any) -> Decision:  # noqa: ANN401 - of TokenRequest
    """Decide a request of the owner's."""
    requester = Requester(uid=os.geteuid(), pid=1)
    request = TokenRequest(profile=profile.name, requester=requester, **asked)
    return policy.decide(profile, request)


def sent(profile: Profile, *answers: Any, **asked: Any) -> dict[str, str]:  # noqa: ANN401 - as above
    """Return the form that STS gets for a request, which it must take."""
    decision = decided(profile, **asked)
    assert decision.effect == "narrow", decision.reason
    ctx = context(profile, scopes=decision.scopes, resource=decision.resource)
    ctx = ctx.replace(credentials=ctx.credentials.replace(subject_token=Secret("web.identity")))
    played = play(find_flow(profile.flow).obtain(ctx), *(answers or (sts_answer(),)))
    assert played.value.scopes == decision.scopes
    (request,) = played.requests
    form = {name: values[0] for name, values in form_of(request).items()}
    assert refusal(form) is None
    return form


def test_actions_and_resources_are_a_session_policy() -> None:
    """Denials, which nothing overrules: not even a bucket's own policy that names the session."""
    form = sent(role(), scopes=("s3:GetObject", "s3:ListBucket"), resource=(BUCKET,))
    assert json.loads(form["Policy"]) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "NotAction": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "NotResource": [BUCKET]},
        ],
    }
    assert form["RoleSessionName"] == "ci"
    assert "scope" not in form
    assert "resource" not in form


def test_either_alone() -> None:
    """What is not named stays as the role has it."""
    actions = json.loads(sent(role(), scopes=("s3:Get*",))["Policy"])
    assert [one["NotAction"] for one in actions["Statement"][1:]] == [["s3:Get*"]]
    resources = json.loads(sent(role(), resource=(BUCKET,))["Policy"])
    assert [one["NotResource"] for one in resources["Statement"][1:]] == [[BUCKET]]


def test_nothing_asked_is_nothing_new() -> None:
    """The role as the profile has it is sent as it is, to the letter."""
    text = '{ "Version": "2012-10-17",\n"Statement": [] }'
    profile = role().replace(extra=json.dumps({"RoleSessionName": "ci", "Policy": text}))
    ctx = context(profile)
    ctx = ctx.replace(credentials=ctx.credentials.replace(subject_token=Secret("web.identity")))
    (request,) = play(find_flow(profile.flow).obtain(ctx), sts_answer()).requests
    assert form_of(request)["Policy"] == [text]
    assert decided(profile).effect == "allow"


ACTIONS = ["s3:GetObject", "s3:PutObject", "sqs:SendMessage", "iam:PassRole", "s3:getobject"]
RESOURCES = ["arn:aws:s3:::shop/a", "arn:aws:s3:::other", "arn:aws:sqs:eu-west-1:1:q[1]"]
ACTION_PATTERNS = [*ACTIONS, "s3:*", "s3:Get?bject", "*:*", "sqs:Send*"]
PATTERNS = [*RESOURCES, BUCKET, "*", "arn:aws:s3:::*"]
STATEMENT = st.builds(
    lambda effect, action, resource, is_not: {
        "Effect": effect,
        ("NotAction" if is_not else "Action"): action,
        "Resource": resource,
    },
    st.sampled_from(["Allow", "Allow", "Deny"]),
    st.lists(st.sampled_from(["*", *ACTION_PATTERNS[:-2], "sqs:*"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
    st.booleans(),
)


@given(
    own=st.none() | st.lists(STATEMENT, min_size=1, max_size=3),
    scopes=st.lists(st.sampled_from(["s3:*", "s3:Get*", *ACTIONS]), max_size=3),
    resource=st.lists(st.sampled_from(PATTERNS[:-2]), max_size=2),
)
def test_what_is_left_is_what_all_allow(
    own: list[dict[str, Any]] | None, scopes: list[str], resource: list[str]
) -> None:
    """Whatever the profile's policy says, a request leaves what is in it and in the request."""
    base = None if own is None else {"Version": "2012-10-17", "Statement": own}
    asked = {"scopes": tuple(scopes) or None, "resource": tuple(resource) or None}
    if not scopes and not resource:
        return
    left = json.loads(sent(role(base), **asked)["Policy"])
    for action in ACTIONS:
        for at in RESOURCES:
            expected = base is None or allows(base, action, at)
            if scopes:
                expected &= any(matches(action, one, is_action=True) for one in scopes)
            if resource:
                expected &= any(matches(at, one, is_action=False) for one in resource)
            assert allows(left, action, at) is expected


def test_managed_policies() -> None:
    """They are named to STS; AWS's own, or of the role's account."""
    mine = "arn:aws:iam::123456789012:policy/team/deploy"
    form = sent(role(), scopes=(READ_ONLY, mine))
    assert form["PolicyArns.member.1.arn"] == mine
    assert form["PolicyArns.member.2.arn"] == READ_ONLY
    assert "Policy" not in form


MANY = tuple(f"{READ_ONLY}{number}" for number in range(11))


@pytest.mark.parametrize(
    ("own", "asked", "said"),
    [
        (None, {"scopes": ()}, "no action is named"),
        (None, {"scopes": ("read",)}, "scope read is neither an action"),
        (None, {"scopes": ("*",)}, "neither an action"),
        (None, {"scopes": ("s3:",)}, "neither an action"),
        (None, {"scopes": (":Get",)}, "neither an action"),
        (None, {"scopes": ("S3:Get",)}, "neither an action"),
        (None, {"scopes": ('s3:Get","x',)}, "neither an action"),
        (None, {"scopes": ("s3:Gét",)}, "neither an action"),
        (None, {"scopes": ("arn:aws:s3",)}, "neither an action"),
        (None, {"scopes": ("arn:aws:s3:::shop",)}, "no managed policy"),
        (None, {"scopes": ("arn:aws:iam::210987654321:policy/x",)}, "of the role's account"),
        (None, {"scopes": ("arn:aws-cn:iam::aws:policy/x",)}, "no managed policy"),
        (None, {"scopes": MANY}, "names 11 managed policies, and STS takes 10"),
        (None, {"scopes": tuple(x + "x" * 200 for x in MANY[:10])}, "characters, STS takes 2048"),
        (None, {"scopes": (READ_ONLY, "s3:Get*")}, "name one or the other"),
        (None, {"scopes": (READ_ONLY,), "resource": (BUCKET,)}, "name one or the other"),
        (OWN, {"scopes": (READ_ONLY,)}, "would add to the policy of the profile"),
        (None, {"resource": ("https://shop.example",)}, "is no ARN"),
        (None, {"resource": ("arn:aws:s3:::",)}, "is no ARN"),
        (None, {"resource": ("arn:aws:s3:::a b",)}, "is no ARN"),
        (None, {"resource": ('arn:aws:s3:::"',)}, "is no ARN"),
        (None, {"resource": tuple(f"{BUCKET}{n}" for n in range(90))}, "and STS takes 2048"),
        (["x"], {"scopes": ("s3:Get*",)}, "no statements that could be narrowed"),
        (None, {"scopes": ("s3:Get*",), "audience": ("x",)}, "audience x is not among"),
    ],
)
def test_what_no_session_policy_says(own: Any, asked: dict[str, Any], said: str) -> None:  # noqa: ANN401 - any JSON
    """Exit 4 with the reason, and no request: never a role that is whole in its place."""
    base = {"Statement": own} if isinstance(own, list) else own
    decision = decided(role(base), **asked)
    assert decision.effect == "deny"
    assert said in decision.reason


def test_the_limit_is_that_of_the_whole_text() -> None:
    """The profile's policy is in it: what is too long together is refused before it is sent."""
    long = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:{'x' * 1850}"}]}
    assert find_problem(role(long), ("s3:Get*",), None) is None
    assert "STS takes 2048" in str(find_problem(role(long), ("s3:Get*",) * 9, None))
    ((_, text),) = parameters(role(long), ("s3:Get*",), ())
    assert len(text) <= 2048
    assert len(statements(json.loads(text))) == 2


def test_it_is_part_of_the_key() -> None:
    """Neither the whole role nor another part of it is served for what was narrowed."""
    requester = Requester(uid=os.geteuid(), pid=1)
    asks: list[dict[str, Any]] = [
        {},
        {"scopes": ("s3:Get*",)},
        {"scopes": ("s3:Put*",)},
        {"resource": (BUCKET,)},
        {"scopes": ("s3:Get*",), "resource": (BUCKET,)},
        {"scopes": (READ_ONLY,)},
    ]
    keys = set()
    for profile in (role(), role(OWN)):
        for asked in asks[: 6 if profile == role() else 5]:
            request = TokenRequest(profile="deploy", requester=requester, **asked)
            made = DecidedRequest(profile, request, policy.decide(profile, request))
            assert made.decision.effect != "deny"
            keys.add(made.token_key)
    assert len(keys) == 11


def test_what_sts_packs_is_its_own_limit() -> None:
    """It is said with a hint that leads to the request, not to the profile."""
    with pytest.raises(OAuthError) as caught:
        sent(role(), sts_error(TOO_LARGE), scopes=("s3:Get*",))
    assert (caught.value.error, "fewer actions" in str(caught.value.hint)) == (TOO_LARGE, True)
