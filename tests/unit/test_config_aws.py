"""The words of an AWS profile: what they become, and what is refused."""

from __future__ import annotations

import json

import pytest

from brokerctl.broker.request import grant_key
from brokerctl.config import plan as plans
from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, Layers
from brokerctl.errors import UsageError
from brokerctl.model import Reference

ROLE = "arn:aws:iam::123456789012:role/path/deploy"
HEAD = (
    '[profile.login]\nissuer = "https://a.example"\nflow = "code"\nclient_id = "x"\n[profile.p]\n'
)
FLOW = 'flow = "aws_web_identity"\n'
AWS = f'aws = {{ role = "{ROLE}" }}\n'
EXCHANGE = 'exchange = { subject = { profile = "login" } }\n'


def compiled(text: str) -> plans.Plan:
    """Return the plan of a user's file."""
    files = (Layer(label="user", path="/u.toml", content=text.encode()),)
    return compile_layers(Layers(files=files), {"HOME": "/home/alice"})


def refused(text: str) -> str:
    """Return why a profile is refused."""
    with pytest.raises(UsageError) as caught:
        compiled(HEAD + text)
    return caught.value.message


def test_it_becomes_a_profile_like_any_other() -> None:
    """The endpoint is the issuer, the role the client, all else is sent as it is."""
    policy = '{"Version":"2012-10-17"}'
    table = f"{{ role = '{ROLE}', session = 'me', duration = '1h', policy = '{policy}' }}"
    plan = compiled(f"{HEAD}{FLOW}{EXCHANGE}aws = {table}\n")
    profile = plan.profiles["p"]
    assert (profile.issuer, profile.client_id) == ("https://sts.amazonaws.com", ROLE)
    assert profile.endpoints == (("token_endpoint", "https://sts.amazonaws.com/"),)
    assert profile.exchange is not None
    assert profile.exchange.subject == Reference(kind="profile", target=("login",))
    assert json.loads(profile.extra or "") == {
        "RoleSessionName": "me",
        "DurationSeconds": "3600",
        "Policy": policy,
    }
    assert plans.parse_plan(plans.render_plan(plan)) == plan


def test_whatever_changes_the_credentials_changes_their_key() -> None:
    """Role, session, duration, policy, endpoint and whose token: no two share what is stored."""
    others = (
        ("role", f"'{ROLE}2'"),
        ("session", "'other'"),
        ("duration", "900"),
        ("policy", "'{}'"),
        ("endpoint", "'https://sts.eu-west-1.amazonaws.com'"),
    )
    tables = [{"role": f"'{ROLE}'"} | {key: value} for key, value in others]
    texts = [f"aws = {{ {', '.join(f'{k} = {v}' for k, v in one.items())} }}\n" for one in tables]
    found = [compiled(HEAD + FLOW + EXCHANGE + text) for text in (AWS, *texts)]
    found += [
        compiled(f"{HEAD}{FLOW}{AWS}exchange = {{ subject = {source} }}\n")
        for source in ("{ file = '/run/login' }", "{ file = '/run/other' }")
    ]
    keys = {grant_key(one.profiles["p"]) for one in found}
    assert len(keys) == len(found)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("'x'", "must be a table"),
        ("{ }", "role is missing"),
        ("{ role = 'arn:aws:iam::1:role/x' }", "role is not the ARN"),
        ("{ role = 'arn:aws:iam::123456789012:user/x' }", "role is not the ARN"),
        ("{ role = 'arn:aws:iam::123456789012:role/x\\n' }", "role is not the ARN"),
        ("{ role = 'arn:aws-cn:iam::123456789012:role/x' }", "needs an endpoint"),
        (f"{{ role = '{ROLE}', session = 'a b' }}", "session is not a name"),
        (f"{{ role = '{ROLE}', session = 1 }}", "session is not a name"),
        (f"{{ role = '{ROLE}', duration = 899 }}", "15 minutes to 12 hours"),
        (f"{{ role = '{ROLE}', duration = '13h' }}", "15 minutes to 12 hours"),
        (f"{{ role = '{ROLE}', duration = true }}", "duration must be seconds"),
        (f"{{ role = '{ROLE}', duration = 'soon' }}", ""),
        (f"{{ role = '{ROLE}', policy = '[]' }}", "policy must be a JSON object"),
        (f"{{ role = '{ROLE}', policy = {{ a = 1 }} }}", "policy must be a JSON object"),
        (f"{{ role = '{ROLE}', endpoint = 'http://sts.example' }}", "endpoint: "),
        (f"{{ role = '{ROLE}', endpoint = 1 }}", "an endpoint, which is a string"),
        (f"{{ role = '{ROLE}', region = 'x' }}", "has no key 'region'"),
    ],
)
def test_a_table_that_can_not_be_meant(table: str, said: str) -> None:
    """It is refused where it stands, before anything is sent."""
    message = refused(f"{FLOW}{EXCHANGE}aws = {table}\n")
    assert said in message
    assert message.startswith("/u.toml:")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{ profile = 'p' }", "goes in a circle: p from p"),
        ("{ profile = 'nobody' }", "no profile 'nobody'"),
        ("{ profile = 1 }", "must be a string"),
        ("{ env = 'X' }", "is not a source"),
        ("{ profile = 'login', file = '/x' }", "is not a source"),
        ("{ file = 'x' }", "must be an absolute path"),
        ("[]", "is not a source"),
        ("1", "is not a source"),
    ],
)
def test_a_source_that_can_not_be_meant(source: str, said: str) -> None:
    """A web identity is another profile's token or a file's."""
    assert said in refused(f"{FLOW}{AWS}exchange = {{ subject = {source} }}\n")


@pytest.mark.parametrize("table", ["1", "{ }", "{ sub = 1 }", "{ actor = 'identity' }"])
def test_an_exchange_that_can_not_be_meant(table: str) -> None:
    """As above."""
    assert "exchange: " in refused(f"{FLOW}{AWS}exchange = {table}\n")


def test_a_circle_of_profiles_is_an_error() -> None:
    """Whoever asked for one would wait for himself."""
    other = f"[profile.q]\n{FLOW}{AWS}exchange = {{ subject = {{ profile = 'p' }} }}\n"
    text = f"{FLOW}{AWS}exchange = {{ subject = {{ profile = 'q' }} }}\n{other}"
    assert "goes in a circle: p from q from p" in refused(text)


def test_credentials_are_no_web_identity() -> None:
    """STS would be sent another role's secrets."""
    other = f"[profile.q]\n{FLOW}{AWS}{EXCHANGE}"
    text = f"{FLOW}{AWS}exchange = {{ subject = {{ profile = 'q' }} }}\n{other}"
    assert "'q' has a cloud's own credentials" in refused(text)


@pytest.mark.parametrize(
    "line",
    [
        "issuer = 'https://b.example'",
        "client_id = 'y'",
        "client_secret = { env = 'X' }",
        "scopes = ['a']",
        "resource = ['https://r.example']",
        "hosts = ['https://h.example']",
        "extra = { a = 'b' }",
        "token_endpoint = 'https://b.example/token'",
        "preset = 'gitlab'",
        "max_ttl = '5m'",
        "lifetime = '5m'",
        "insecure_ok = true",
    ],
)
def test_what_sts_takes_nothing_of_is_refused(line: str) -> None:
    """Never accepted and ignored; hosts would lead other tools to send the secrets there."""
    key = line.partition(" ")[0]
    assert key in refused(f"{FLOW}{AWS}{EXCHANGE}{line}\n")


@pytest.mark.parametrize(
    ("lines", "said"),
    [(AWS, "goes with the flow aws_web_identity alone"), (EXCHANGE, "which exchanges nothing")],
)
def test_they_go_with_this_flow_alone(lines: str, said: str) -> None:
    """In another flow they would be accepted and ignored; in this both are needed."""
    other = 'flow = "code"\nissuer = "https://a.example"\nclient_id = "x"\n'
    assert said in refused(other + lines)
    assert "is missing" in refused(FLOW + lines)
