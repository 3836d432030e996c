"""Google's and Azure's workload identities: what their tables become, what is sent and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerctl.broker.request import grant_key
from brokerctl.config import plan as plans
from brokerctl.errors import IssuerError, OAuthError, UsageError
from brokerctl.model import Exchange, Reference
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.flows.sources import audience_of
from brokerctl.oauth.message import BrokenError
from brokerctl.oauth.steps import Identify
from brokerctl.secret import Secret
from tests.flows import CLAIMS, ISSUER, answer, context, form_of, issued, json_of, metadata, play
from tests.flows import profile as profile_of
from tests.unit.test_config_aws import compiled

if TYPE_CHECKING:
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpResponse

POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/main"
PEOPLE = "//iam.googleapis.com/locations/global/workforcePools/pool/providers/main"
ACCOUNT = "deploy@shop.iam.gserviceaccount.com"
GOOGLE = f"[profile.p]\nflow = 'google_workload'\ngoogle = {{ pool = '{POOL}' }}\n"
ACTING = GOOGLE.replace("' }", f"', service_account = '{ACCOUNT}' }}")
AZURE = "[profile.p]\nflow = 'azure_workload'\nazure = { tenant = 't-1' }\nclient_id = 'app'\n"
VAULT = "scopes = ['https://vault.azure.net/.default']\n"
TYPE = "urn:ietf:params:oauth:token-type:"
OF_JOB = Exchange(subject=Reference(kind="identity", target=()), subject_type=f"{TYPE}jwt")
IMPERSONATE = f"{ISSUER}/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"


def refused(text: str) -> str:
    """Return why a profile is refused."""
    with pytest.raises(UsageError) as caught:
        compiled(text)
    assert caught.value.message.startswith("/u.toml:")
    return caught.value.message


def test_a_google_profile_becomes_one_like_any_other() -> None:
    """STS is the issuer, the pool the client, and who the identity is made out to."""
    plan = compiled(GOOGLE)
    made = plan.profiles["p"]
    assert (made.issuer, made.client_id) == ("https://sts.googleapis.com", POOL)
    assert made.endpoints == (("token_endpoint", "https://sts.googleapis.com/v1/token"),)
    assert made.scopes == ("https://www.googleapis.com/auth/cloud-platform",)
    assert audience_of(made) == f"https:{POOL}"
    assert made.exchange == OF_JOB
    assert plans.parse_plan(plans.render_plan(plan)) == plan


def test_a_service_account_has_an_endpoint_and_tokens_of_its_own() -> None:
    """Each part that changes the token changes its key; both endpoints can be others."""
    other = ACTING.replace("deploy@", "other@")
    found = [compiled(one).profiles["p"] for one in (GOOGLE, ACTING, other)]
    assert len({grant_key(one) for one in found}) == len(found)
    place = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
    assert dict(found[1].endpoints)["impersonation_endpoint"] == (
        f"{place}/{ACCOUNT}:generateAccessToken"
    )
    mine = compiled(
        f"{ACTING}token_endpoint = 'https://sts.x/t'\nimpersonation_endpoint = 'https://iam.x/a'\n"
        "identity_audience = 'me'\nscopes = ['https://www.googleapis.com/auth/pubsub']\n"
    ).profiles["p"]
    assert [url for _, url in mine.endpoints] == ["https://iam.x/a", "https://sts.x/t"]
    assert (audience_of(mine), mine.scopes[0][-6:]) == ("me", "pubsub")


def test_an_azure_profile_becomes_one_like_any_other() -> None:
    """The tenant is in the issuer; a sovereign cloud's issuer moves both."""
    made = compiled(AZURE + VAULT).profiles["p"]
    assert made.issuer == "https://login.microsoftonline.com/t-1/v2.0"
    assert made.endpoints == (
        ("token_endpoint", "https://login.microsoftonline.com/t-1/oauth2/v2.0/token"),
    )
    assert audience_of(made) == "api://AzureADTokenExchange"
    for end in ("", "/", "/t-1/v2.0"):
        text = f"{AZURE}{VAULT}issuer = 'https://login.microsoftonline.us{end}'\n"
        moved = compiled(text).profiles["p"]
        assert moved.issuer == "https://login.microsoftonline.us/t-1/v2.0"
        assert moved.endpoints[0][1].startswith("https://login.microsoftonline.us/t-1/oauth2/")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profile.p]\nflow = 'google_workload'\n", "google is missing"),
        (GOOGLE.replace(POOL, PEOPLE), "for pools of workloads, not of people"),
        (f"{GOOGLE}client_id = 'x'\n", "client_id does not go with the flow google_workload"),
        (f"{GOOGLE}issuer = 'https://a.example'\n", "issuer does not go with the flow google_"),
        (
            f"{GOOGLE}impersonation_endpoint = 'https://a.example'\n",
            "impersonation_endpoint needs google.service_account",
        ),
        (
            "[profile.p]\nflow = 'device'\nimpersonation_endpoint = 'https://a.example'\n",
            "impersonation_endpoint goes with the flow google_workload alone",
        ),
        (
            f"{GOOGLE}exchange = {{ subject = 'identity', requested_type = 'jwt' }}\n",
            "actor and requested_type do not go with the flow google_workload",
        ),
        ("[profile.p]\nflow = 'azure_workload'\nclient_id = 'x'\n", "azure is missing"),
        (AZURE, "needs one scope, that ends in /.default"),
        (f"{AZURE}scopes = ['https://vault.azure.net/read']\n", "needs one scope, that ends in"),
        (f"{AZURE}scopes = ['https://a/.default', 'https://b/.default']\n", "needs one scope"),
        (f"{AZURE}{VAULT}client_secret = {{ env = 'X' }}\n", "client_secret does not go with"),
        (AZURE.replace("client_id = 'app'\n", VAULT), "client_id is missing"),
        (AZURE.replace("'t-1'", "'common'"), "tenant is neither the id nor the domain"),
        (AZURE.replace("'t-1'", "'a/b'"), "tenant is neither the id nor the domain"),
        (AZURE.replace("'t-1'", "1"), "tenant is neither the id nor the domain"),
        (AZURE.replace("tenant = 't-1'", ""), "tenant is missing"),
        (AZURE.replace("tenant", "id"), "has no key 'id'"),
        (AZURE.replace("{ tenant = 't-1' }", "'t-1'"), "must be a table"),
        (
            "[profile.p]\nflow = 'device'\nclient_id = 'x'\nazure = { tenant = 't' }\n",
            "azure goes with the flow azure_workload alone",
        ),
    ],
)
def test_a_profile_that_can_not_be_meant(text: str, said: str) -> None:
    """It is refused where it stands, before anything is sent."""
    assert said in refused(text)


def google(**fields: object) -> FlowContext:
    """Return a context of Google's flow that acts as an account."""
    chosen = {"flow": "google_workload", "client_id": POOL, "exchange": OF_JOB, "scopes": ("s",)}
    of = profile_of(**chosen | fields)
    return context(of, about=metadata(impersonation_endpoint=IMPERSONATE))


def account_s(**changes: object) -> HttpResponse:
    """Return what IAM Credentials answers."""
    return answer({"accessToken": "at-2", "expireTime": "1970-01-12T14:46:40Z"} | changes)


def test_an_account_s_token_takes_two_requests() -> None:
    """The federated token may become the account and nothing else, and goes to one endpoint."""
    played = play(find_flow("google_workload").obtain(google()), issued(), account_s())
    first, second = played.requests
    assert form_of(first)["scope"] == ["https://www.googleapis.com/auth/iam"]
    assert form_of(first)["subject_token"] == ["job.of.platform"]
    assert (second.url, json_of(second)) == (IMPERSONATE, {"scope": ["s"]})
    assert dict(second.headers)["authorization"] == Secret("Bearer at-1")
    got = played.value
    assert (got.access_token, got.expires_in, got.scopes) == (Secret("at-2"), 3600, ("s",))
    assert got.claims == CLAIMS
    assert "at-1" not in repr(played.steps)


@pytest.mark.parametrize(("max_ttl_s", "asked"), [(600, "600s"), (3600, "3600s"), (7200, "3600s")])
def test_an_account_s_token_lives_as_long_as_the_profile_says(max_ttl_s: int, asked: str) -> None:
    """At most an hour, which is what Google gives without an organisation's policy."""
    played = play(
        find_flow("google_workload").obtain(google(max_ttl_s=max_ttl_s)), issued(), account_s()
    )
    assert json_of(played.requests[1])["lifetime"] == asked


def test_another_try_has_another_identity() -> None:
    """The first may be used up; a refusal is not tried again."""
    for name in ("google_workload", "azure_workload"):
        ctx = google(flow=name).replace(metadata=metadata())
        played = play(find_flow(name).obtain(ctx), BrokenError("broke"), issued())
        assert len(played.of(Identify)) == 2
        steps: list[object] = []
        with pytest.raises(OAuthError):
            play(find_flow(name).obtain(ctx), answer({"error": "x"}, 400), steps=steps)
        assert len(steps) == 2


@pytest.mark.parametrize(
    ("body", "status", "said", "hint"),
    [
        (
            {"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}},
            403,
            "PERMISSION_DENIED",
            "roles/iam.workloadIdentityUser",
        ),
        ({"error": {"code": 404, "message": "no", "status": "NOT_FOUND"}}, 404, "NOT_FOUND", "acc"),
        ({"error": {"code": 400, "message": "no", "status": "a b"}}, 400, "400", ""),
        ({"error": {"code": 400, "message": "no", "status": ["X"]}}, 400, "400", ""),
    ],
)
def test_iam_s_no_has_its_hint(body: object, status: int, said: str, hint: str) -> None:
    """Google's own word, if it is one."""
    with pytest.raises(OAuthError) as caught:
        play(find_flow("google_workload").obtain(google()), issued(), answer(body, status))
    assert caught.value.error == said
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "wrong",
    [
        answer({"error": "no"}, 403),
        answer(b"<html>", 403),
        answer({"accessToken": ""}),
        answer({"accessToken": "a b"}),
        answer([]),
        answer(b"<html>"),
    ],
)
def test_an_answer_of_iam_that_can_not_be_used(wrong: HttpResponse) -> None:
    """No token of it, and the federated one is not handed out in its place."""
    with pytest.raises(IssuerError) as caught:
        play(find_flow("google_workload").obtain(google()), issued(), wrong)
    assert "at-1" not in caught.value.message


@pytest.mark.parametrize(
    ("code", "hint"),
    [("700213", "subject"), ("700211", "issuer"), ("700212", "audience"), ("90002", "tenant")],
)
def test_entra_s_no_has_its_hint(code: str, hint: str) -> None:
    """By the number in its description."""
    ctx = google(flow="azure_workload")
    body = {"error": "invalid_client", "error_description": f"AADSTS{code}: no. Trace ID: x"}
    with pytest.raises(OAuthError) as caught:
        play(find_flow("azure_workload").obtain(ctx), answer(body, 401))
    assert hint in (caught.value.hint or "")
