"""The emulated GitHub gives an app's installation its token, narrowed as asked, until revoked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.emulations.authority import rsa_key
from tests.emulations.client import Answer, ask
from tests.emulations.github_app import APP, INSTALLATION, GitHubApi

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def github() -> Iterator[GitHubApi]:
    """Return GitHub's API with one app and one installation."""
    with GitHubApi() as running:
        yield running


def create(
    github: GitHubApi, token: str = "", installation: str = INSTALLATION, **body: object
) -> Answer:
    """Ask for a token of the installation."""
    url = f"{github.url}/app/installations/{installation}/access_tokens"
    return ask(url, "POST", body=body, token=token or github.app_jwt())


def test_a_token_is_given_used_and_revoked(github: GitHubApi) -> None:
    """201 with an end; revoked by its own endpoint it is 401 from then on."""
    answer = create(github)
    assert answer.status == 201
    token = answer.json["token"]
    assert token.startswith(f"ghs_{APP}_")
    assert answer.json["expires_at"].endswith("Z")
    listed = ask(f"{github.url}/installation/repositories", token=token).json
    assert listed["total_count"] == 3
    assert ask(f"{github.url}/installation/token", "DELETE", token=token).status == 204
    assert not github.is_alive(token)
    for method, path in (("GET", "installation/repositories"), ("DELETE", "installation/token")):
        assert ask(f"{github.url}/{path}", method, token=token).status == 401


def test_the_old_form_of_a_token() -> None:
    """Forty characters, as before April 2026."""
    with GitHubApi(is_stateless=False) as github:
        assert len(create(github).json["token"]) == 40


def test_it_is_narrowed(github: GitHubApi) -> None:
    """By name or id and by permission; `metadata: read` comes along."""
    by_name = create(github, repositories=["docs"], permissions={"contents": "read"}).json
    assert by_name["permissions"] == {"contents": "read", "metadata": "read"}
    assert [one["name"] for one in by_name["repositories"]] == ["docs"]
    by_id = create(github, repository_ids=[456790]).json
    assert [one["name"] for one in by_id["repositories"]] == ["docs"]
    shown = ask(f"{github.url}/repos/octo-org/docs", token=by_name["token"])
    assert shown.json["permissions"]["contents"] == "read"
    assert ask(f"{github.url}/repos/octo-org/secret", token=by_name["token"]).status == 404


def test_more_than_the_installation_has(github: GitHubApi) -> None:
    """Another repository, an id, a higher level and a permission it lacks: 422."""
    bodies: list[dict[str, Any]] = [
        {"repositories": ["other"]},
        {"repository_ids": [1]},
        {"permissions": {"contents": "admin"}},
        {"permissions": {"secrets": "read"}},
    ]
    assert [create(github, **body).status for body in bodies] == [422] * 4
    assert not github.given


def test_a_wrong_jwt_of_the_app(github: GitHubApi) -> None:
    """Another key, app or algorithm, an end that is over or too far, a start in the future: 401."""
    now = int(time.time())
    claims = {"iss": APP, "iat": now - 60, "exp": now + 60}
    hmac = RSAKey.generate_key(2048)
    wrong = [
        jwt.encode({"alg": "RS256"}, claims, rsa_key(501)),
        jwt.encode({"alg": "RS512"}, claims, hmac, algorithms=["RS512"]),
        github.app_jwt(iss="other"),
        github.app_jwt(exp=now - 1),
        github.app_jwt(exp=now + 660),
        github.app_jwt(iat=now + 60),
        "nonsense",
    ]
    assert [create(github, token).status for token in wrong] == [401] * len(wrong)
    assert create(github, github.app_jwt(iss=APP)).status == 201


def test_an_installation_that_is_not_there(github: GitHubApi) -> None:
    """404, and 403 where it is suspended."""
    assert create(github, installation="1").status == 404
    github.installations["2"] = github.installations[INSTALLATION]._replace(is_suspended=True)
    assert create(github, installation="2").status == 403
