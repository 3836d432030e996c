"""The emulated Google and Entra give a token for a right identity, and for nothing less."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.emulations.authority import FORGERIES, Authority
from tests.emulations.azure import ASSERTION, AUDIENCE_OF_ENTRA, CLIENT, TENANT, Azure
from tests.emulations.client import Answer, ask
from tests.emulations.google import ACCOUNT, CLOUD_PLATFORM, PROVIDER, Google
from tests.emulations.jobs import Job, authority_of, claims_of
from tests.idp.issuer import TOKEN_EXCHANGE, TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

GITHUB = authority_of("github")
SUBJECT = claims_of("github", Job(), "")["sub"]
STRANGER = Authority("https://stranger.example", key=7)
BELIEVED = {"old"}


@pytest.fixture
def google() -> Iterator[Google]:
    """Return Google with a pool that believes GitHub, for one job and one account."""
    with Google([GITHUB], {SUBJECT: [ACCOUNT]}) as running:
        yield running


@pytest.fixture
def azure() -> Iterator[Azure]:
    """Return Entra with an application that has a federated credential for one job."""
    with Azure([GITHUB], [SUBJECT]) as running:
        yield running


def identity(audience: str, **changes: object) -> str:
    """Return the job's token."""
    return GITHUB.sign({**claims_of("github", Job(), audience), **changes})


def federate(google: Google, token: str, **changes: str) -> Answer:
    """Ask STS with a form."""
    form = {
        "audience": PROVIDER,
        "grant_type": TOKEN_EXCHANGE,
        "requested_token_type": f"{TYPE}access_token",
        "scope": CLOUD_PLATFORM,
        "subject_token": token,
        "subject_token_type": f"{TYPE}jwt",
        **changes,
    }
    return ask(f"{google.url}/v1/token", "POST", form=form)


def impersonate(google: Google, token: str, account: str = ACCOUNT, **changes: object) -> Answer:
    """Ask IAM Credentials for an account's token."""
    url = f"{google.url}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
    body = {"scope": [CLOUD_PLATFORM], "lifetime": "900s", **changes}
    return ask(url, "POST", body=body, token=token)


def entra(azure: Azure, assertion: str, tenant: str = TENANT, **changes: str) -> Answer:
    """Ask Entra for a token."""
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_assertion_type": ASSERTION,
        "client_assertion": assertion,
        "scope": "https://management.azure.com/.default",
        **changes,
    }
    return ask(f"{azure.url}/{tenant}/oauth2/v2.0/token", "POST", form=form)


@pytest.mark.parametrize("audience", [PROVIDER, f"https:{PROVIDER}"])
def test_google_federates_and_impersonates(google: Google, audience: str) -> None:
    """STS gives a federated token, IAM Credentials an account's, which works."""
    federated = federate(google, identity(audience)).json
    assert federated["issued_token_type"] == f"{TYPE}access_token"
    given = impersonate(google, federated["access_token"]).json
    assert given["expireTime"].endswith("Z")
    assert ask(f"{google.url}/whoami", token=given["accessToken"]).json == {"email": ACCOUNT}
    assert ask(f"{google.url}/whoami", token=federated["access_token"]).status == 401


def test_google_takes_json_as_well(google: Google) -> None:
    """The names are in camel case then."""
    body = {
        "audience": PROVIDER,
        "grantType": TOKEN_EXCHANGE,
        "requestedTokenType": f"{TYPE}access_token",
        "scope": CLOUD_PLATFORM,
        "subjectToken": identity(PROVIDER),
        "subjectTokenType": f"{TYPE}jwt",
    }
    assert ask(f"{google.url}/v1/token", "POST", body=body).status == 200
    refused = ask(f"{google.url}/v1/token", "POST", body=body, token="x")
    assert refused.json["error"] == "invalid_request"


@pytest.mark.parametrize("forgery", sorted(FORGERIES.keys() - BELIEVED))
def test_google_refuses_a_forged_identity(google: Google, forgery: str) -> None:
    """Whatever is wrong with the token is an invalid grant."""
    token = GITHUB.forge(forgery, claims_of("github", Job(), PROVIDER))
    answer = federate(google, token)
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
    assert not google.federated


def test_google_refuses_what_is_asked_wrongly(google: Google) -> None:
    """Another issuer or audience, another provider, no scope, another type."""
    assert federate(google, identity("x")).json["error"] == "invalid_grant"
    stranger = STRANGER.sign({"sub": SUBJECT, "aud": PROVIDER})
    assert federate(google, stranger).json["error"] == "invalid_grant"
    token = identity(PROVIDER)
    another = PROVIDER.replace("main", "other")
    assert federate(google, token, audience=another).json["error"] == "invalid_target"
    assert federate(google, token, audience="x").json["error"] == "invalid_request"
    assert federate(google, token, scope="").json["error"] == "invalid_request"
    saml = federate(google, token, subject_token_type=f"{TYPE}saml2")
    assert saml.json["error"] == "invalid_request"


def test_google_refuses_an_account_that_is_not_the_job_s(google: Google) -> None:
    """Another account, another job, a federated token that is none, too long a life."""
    token = federate(google, identity(PROVIDER)).json["access_token"]
    other = "admin@shop.iam.gserviceaccount.com"
    assert impersonate(google, token, other).json["error"]["status"] == "PERMISSION_DENIED"
    assert impersonate(google, "nonsense").json["error"]["code"] == 401
    assert impersonate(google, token, lifetime="3601s").json["error"]["code"] == 400
    assert impersonate(google, token, scope=[]).json["error"]["code"] == 400
    branch = identity(PROVIDER, sub=SUBJECT.replace("main", "topic"))
    stranger = federate(google, branch).json["access_token"]
    assert impersonate(google, stranger).status == 403


def test_entra_gives_a_token(azure: Azure) -> None:
    """Discovery names the endpoint; the assertion may be shown again until it ends."""
    metadata = ask(f"{azure.issuer}/.well-known/openid-configuration").json
    assert metadata["issuer"] == azure.issuer
    token = identity(AUDIENCE_OF_ENTRA)
    given = [entra(azure, token).json for _ in range(2)]
    assert ask(f"{azure.url}/whoami", token=given[1]["access_token"]).status == 200
    assert given[0].keys() == {"token_type", "expires_in", "ext_expires_in", "access_token"}


CODES = {
    "expired": 700024,
    "from tomorrow": 700024,
    "without an end": 50027,
    "another key": 700027,
    "alg none": 700027,
    "cut signature": 700027,
}


@pytest.mark.parametrize("forgery", CODES)
def test_entra_refuses_a_forged_assertion(azure: Azure, forgery: str) -> None:
    """It says which of its documented codes it is."""
    token = GITHUB.forge(forgery, claims_of("github", Job(), AUDIENCE_OF_ENTRA))
    answer = entra(azure, token)
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert answer.json["error_codes"] == [CODES[forgery]]
    assert json.dumps(CODES[forgery]) in answer.json["error_description"]


def test_entra_compares_letter_by_letter(azure: Azure) -> None:
    """Issuer, subject and audience must be those of the federated credential."""
    names = claims_of("github", Job(is_immutable=False), AUDIENCE_OF_ENTRA)
    refused = {
        700211: STRANGER.sign({"sub": SUBJECT, "aud": AUDIENCE_OF_ENTRA}),
        700212: identity("api://azureadtokenexchange"),
        700213: GITHUB.sign(names),
    }
    for code, token in refused.items():
        assert entra(azure, token).json["error_codes"] == [code]


def test_entra_refuses_what_is_asked_wrongly(azure: Azure) -> None:
    """Another tenant or application, a secret beside the assertion, a scope of its own."""
    token = identity(AUDIENCE_OF_ENTRA)
    assert entra(azure, token, tenant="other").json["error_codes"] == [90002]
    assert entra(azure, token, client_id="other").json["error"] == "unauthorized_client"
    assert entra(azure, token, client_secret="x").status == 401
    assert entra(azure, token, scope="user.read").json["error_codes"] == [1002012]
    assert entra(azure, token, grant_type=TOKEN_EXCHANGE).json["error_codes"] == [70003]
