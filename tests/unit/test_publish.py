"""Trusted publishing: what a profile becomes, who an identity may be for, and what is read."""

from __future__ import annotations

import pytest

from brokerctl.broker.request import grant_key
from brokerctl.config import plan as plans
from brokerctl.config.indexes import INDEXES
from brokerctl.errors import IssuerError, OAuthError, UsageError
from brokerctl.model import Exchange, Reference
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.steps import Identify
from brokerctl.secret import Secret
from brokerctl.session.environment import ChildVariable, default_variables, put_token
from tests.flows import NOW, answer, context, json_of, metadata, play, profile
from tests.unit.test_config_aws import compiled

OF_JOB = Exchange(
    subject=Reference(kind="identity", target=()),
    subject_type="urn:ietf:params:oauth:token-type:jwt",
)
HEAD = "[profile.p]\nflow = 'publish'\n"
NPM = "[profile.p]\nflow = 'publish'\npublish = {{ kind = 'npm'{} }}\n"
PYTHON = f"{HEAD}publish = {{ kind = 'python' }}\n"


def refused(text: str) -> str:
    """Return why a profile is refused."""
    with pytest.raises(UsageError) as caught:
        compiled(text)
    assert caught.value.message.startswith("/u.toml:")
    return caught.value.message


@pytest.mark.parametrize("kind", INDEXES)
def test_two_lines_are_a_profile(kind: str) -> None:
    """The index is the issuer; what the tool reads and how long a token lives follow."""
    index = INDEXES[kind]
    package = ", package = 'shop'" if index.is_for_package else ""
    plan = compiled(f"{HEAD}publish = {{ kind = '{kind}'{package} }}\n")
    made = plan.profiles["p"]
    assert (made.issuer, made.client_id) == (index.url, kind)
    of = "shop" if index.is_for_package else ""
    endpoints = {"token_endpoint": index.url + index.exchange_path + of}
    if index.revocation_path:
        endpoints["revocation_endpoint"] = index.url + index.revocation_path
    assert dict(made.endpoints) == endpoints
    assert (made.env, made.env_beside) == (index.variable, index.beside)
    assert (made.lifetime_s, made.exchange) == (index.lifetime_s, OF_JOB)
    host = index.url.removeprefix("https://")
    assert made.identity_audience == (None if index.audience_path else index.audience_scheme + host)
    assert plans.parse_plan(plans.render_plan(plan)) == plan


@pytest.mark.parametrize(
    ("index", "issuer"),
    [
        ("https://test.pypi.org", "https://test.pypi.org"),
        ("https://test.pypi.org/", "https://test.pypi.org"),
        ("https://test.pypi.org/legacy/", "https://test.pypi.org"),
        ("http://127.0.0.1:81", "http://127.0.0.1:81"),
    ],
)
def test_an_address_for_uploads_will_do(index: str, issuer: str) -> None:
    """As it stands in a tool's own configuration."""
    text = f"{HEAD}publish = {{ kind = 'python', index = '{index}' }}\n"
    made = compiled(text).profiles["p"]
    assert made.issuer == issuer
    assert grant_key(made) != grant_key(compiled(PYTHON).profiles["p"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "publish is missing"),
        (f"{HEAD}publish = 'python'\n", "must be a table"),
        (f"{HEAD}publish = {{}}\n", "kind must be one of python, cargo, npm, rubygems"),
        (NPM.format(""), "kind npm needs the package"),
        (NPM.format(", package = 1"), "kind npm needs the package"),
        (NPM.format(", package = 'Shop'"), "kind npm needs the package"),
        (NPM.format(", package = 'shop/../x'"), "kind npm needs the package"),
        (NPM.format(", package = '@octo/shop/x'"), "kind npm needs the package"),
        (NPM.format(", package = '../x'"), "kind npm needs the package"),
        (NPM.format(f", package = '{'a' * 215}'"), "kind npm needs the package"),
        (NPM.format(", package = 'a', index = 'https://a.b/npm'"), "is at a host, without a path"),
        (
            f"{HEAD}publish = {{ kind = 'python', package = 'x' }}\n",
            "package does not go with kind",
        ),
        (f"{HEAD}publish = {{ kind = ['python'] }}\n", "kind must be one of"),
        (f"{HEAD}publish = {{ kind = 'python', index = 1 }}\n", "must be the address of an index"),
        (f"{HEAD}publish = {{ kind = 'python', index = 'http://a.b' }}\n", "plain http is for"),
        (f"{HEAD}publish = {{ kind = 'python', index = 'https://a.b?x' }}\n", "has no query"),
        (f"{HEAD}publish = {{ kind = 'python', project = 'x' }}\n", "has no key 'project'"),
        (f"{PYTHON}client_id = 'x'\n", "client_id does not go with the flow publish"),
        (f"{PYTHON}scopes = ['x']\n", "scopes does not go with the flow publish"),
        (
            "[profile.p]\nflow = 'device'\npublish = { kind = 'python' }\n",
            "publish goes with the flow publish alone",
        ),
    ],
)
def test_a_profile_that_can_not_be_meant(text: str, said: str) -> None:
    """It is refused where it stands, before anything is sent."""
    assert said in refused(text)


def test_a_package_of_npm_is_part_of_all() -> None:
    """Of the address, with its scope in one segment, and of the key: no other's token is served."""
    names = ("shop", "@octo/shop", "@octo/other")
    made = [compiled(NPM.format(f", package = '{name}'")).profiles["p"] for name in names]
    url = "https://registry.npmjs.org/-/npm/v1/oidc/token/exchange/package/"
    found = [dict(one.endpoints)["token_endpoint"] for one in made]
    assert found == [f"{url}shop", f"{url}@octo%2fshop", f"{url}@octo%2fother"]
    assert len({grant_key(one) for one in made}) == 3
    assert {one.identity_audience for one in made} == {"npm:registry.npmjs.org"}
    other = compiled(NPM.format(", package = 'a', index = 'http://127.0.0.1:81'")).profiles["p"]
    assert other.identity_audience == "npm:127.0.0.1"


def test_npm_s_identity_is_the_bearer() -> None:
    """As npm's own client shows it: no body, and 201 with the token and its end."""
    of = profile(flow="publish", client_id="npm", exchange=OF_JOB, identity_audience="npm:a")
    given = {"token_type": "oidc", "token": "npm_1", "expires": "2001-09-09T01:56:40.000Z"}
    done = play(find_flow("publish").obtain(context(of)), answer(given, status=201))
    (request,) = done.requests
    shown = dict(request.headers)["authorization"]
    assert isinstance(shown, Secret)
    assert (shown.reveal(), request.method, request.body) == (
        "Bearer job.of.platform",
        "POST",
        None,
    )
    assert done.value.access_token == Secret("npm_1")
    assert [one.audience for one in done.of(Identify)] == ["npm:a"]


def environment_of(text: str, *variables: str) -> dict[str, str]:
    """Return what a child's environment gets of a profile."""
    made = compiled(text).profiles["p"]
    found = {"TWINE_USERNAME": "alice"}
    wanted = ChildVariable(profile=made, variables=variables or default_variables(made), files=())
    put_token(found, wanted, Secret("t"))
    return found


def test_twine_finds_all_that_it_needs() -> None:
    """The user's name goes with its password; another variable is another tool's."""
    assert environment_of(PYTHON) == {"TWINE_PASSWORD": "t", "TWINE_USERNAME": "__token__"}
    alice = {"TWINE_USERNAME": "alice"}
    mine = f"{PYTHON}env = 'UV_PUBLISH_TOKEN'\n"
    assert environment_of(mine) == {"UV_PUBLISH_TOKEN": "t", **alice}
    assert environment_of(PYTHON, "UV_PUBLISH_TOKEN") == {"UV_PUBLISH_TOKEN": "t", **alice}


def played(kind: str, *answers: object, **fields: object) -> object:
    """Run the flow of a kind on canned answers."""
    of = profile(flow="publish", client_id=kind, exchange=OF_JOB, **fields)
    return play(find_flow("publish").obtain(context(of)), *answers)  # type: ignore[arg-type]  # responses


@pytest.mark.parametrize(
    "audience",
    [
        "pypi",
        "testpypi",
        "issuer.example.com",
        "https://issuer.example.com",
        "issuer.example.com:1",
    ],
)
def test_an_index_says_for_whom(audience: str) -> None:
    """It asks for an identity for itself, and gets that."""
    of = profile(flow="publish", client_id="python", exchange=OF_JOB)
    done = play(
        find_flow("publish").obtain(context(of)),
        answer({"audience": audience}),
        answer({"token": "pypi-1", "expires": NOW + 900}),
    )
    first, second = done.requests
    assert (first.method, first.url) == ("GET", "https://issuer.example.com/_/oidc/audience")
    assert [one.audience for one in done.of(Identify)] == [audience]
    assert json_of(second) == {"token": "job.of.platform"}
    assert (done.value.access_token, done.value.expires_in) == (Secret("pypi-1"), 900)


@pytest.mark.parametrize(
    "audience",
    [
        *(
            "sts.amazonaws.com",
            "sigstore",
            "https://github.com/octo-org",
            "api://AzureADTokenExchange",
        ),
        *("e.com", "issuer.example.com.evil.example", "https://x@issuer.example.com", "", None, 1),
        "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
    ],
)
def test_an_index_can_not_ask_for_somebody_else_s(audience: object) -> None:
    """A cloud would take that identity from whoever shows it."""
    with pytest.raises(IssuerError, match="made out to") as caught:
        played("python", answer({"audience": audience}))
    assert "identity_audience" in (caught.value.hint or "")


def test_the_profile_has_the_last_word_of_the_audience() -> None:
    """Then the index is not asked."""
    done = played("python", answer({"token": "t"}), identity_audience="sigstore")
    assert [one.audience for one in done.of(Identify)] == ["sigstore"]  # type: ignore[attr-defined]  # Played


@pytest.mark.parametrize(
    ("kind", "body", "ends"),
    [
        ("python", {"token": "t", "expires": NOW + 60}, 60),
        ("python", {"token": "t"}, None),
        ("python", {"token": "t", "expires": True}, None),
        ("cargo", {"token": "t", "": NOW}, None),
        ("rubygems", {"rubygems_api_key": "t", "expires_at": "1970-01-12T14:46:40.000Z"}, 3600),
        ("rubygems", {"rubygems_api_key": "t", "expires_at": "soon"}, None),
    ],
)
def test_when_a_token_ends(kind: str, body: object, ends: int | None) -> None:
    """As the index says it, if it does."""
    done = played(kind, answer(body), identity_audience="x")
    assert done.value.expires_in == ends  # type: ignore[attr-defined]  # Played


@pytest.mark.parametrize(
    ("kind", "body", "status", "said"),
    [
        (
            "python",
            {"errors": [{"code": "invalid-token", "description": "x"}]},
            422,
            "invalid-token",
        ),
        ("python", {"message": "no", "errors": []}, 403, "403"),
        ("cargo", {"errors": [{"detail": "JWT has already been used"}]}, 400, "400"),
        ("cargo", {"errors": ["x"], "detail": "y"}, 400, None),
        ("rubygems", b"This could not be found.", 404, None),
        ("python", b"<html>", 502, None),
    ],
)
def test_an_index_s_no(kind: str, body: object, status: int, said: str | None) -> None:
    """Its own word if it has one, and where to look."""
    answers = [answer(body, status)] * (2 if status >= 500 else 1)
    with pytest.raises(IssuerError) as caught:
        played(kind, *answers, identity_audience="x")
    assert (caught.value.error if isinstance(caught.value, OAuthError) else None) == said
    assert ("doctor --ci" in (caught.value.hint or "")) is (status < 500)


def test_no_endpoint_is_asked_that_is_not_there() -> None:
    """As of every flow."""
    of = profile(flow="publish", client_id="cargo", exchange=OF_JOB)
    ctx = context(of, about=metadata(token_endpoint=None))
    with pytest.raises(IssuerError, match="token_endpoint"):
        play(find_flow("publish").obtain(ctx))
