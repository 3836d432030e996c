"""moto's STS takes the identity token of a CI job: by raw HTTP, brokerctl has no part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.emulations.aws import STS_AUDIENCE, WebIdentities
from tests.emulations.client import Answer, ask
from tests.emulations.jobs import Job, authority_of, claims_of
from tests.tools.sts_server import Moto, Sts

if TYPE_CHECKING:
    from collections.abc import Iterator

GITHUB = authority_of("github")
SUBJECTS = ["repo:octo-org@123456/octo-repo@456789:*"]


@pytest.fixture
def sts(moto_process: Moto) -> Iterator[Sts]:
    """Return an STS with a role for one repository's jobs."""
    moto_process.reset()
    with Sts(WebIdentities([GITHUB], SUBJECTS), moto_process) as running:
        yield running


def assume(sts: Sts, token: str) -> Answer:
    """Ask for the role's credentials."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": "arn:aws:iam::123456789012:role/deploy",
        "RoleSessionName": "job",
        "WebIdentityToken": token,
    }
    return ask(f"{sts.url}/", "POST", form=form)


def test_a_job_assumes_a_role(sts: Sts) -> None:
    """Its token is worth credentials, and may be shown again."""
    token = GITHUB.sign(claims_of("github", Job(), STS_AUDIENCE))
    for _ in range(2):
        assert "<SecretAccessKey>" in assume(sts, token).text
    assert [one.is_given for one in sts.assumed] == [True, True]


def test_what_the_role_does_not_trust(sts: Sts) -> None:
    """Another audience, key or repository, names in place of ids, and a token that is over."""
    claims = claims_of("github", Job(), STS_AUDIENCE)
    refused = [
        (GITHUB.sign({**claims, "aud": "x"}), "InvalidIdentityToken"),
        (GITHUB.forge("another key", claims), "InvalidIdentityToken"),
        (GITHUB.forge("alg none", claims), "InvalidIdentityToken"),
        (GITHUB.forge("expired", claims), "ExpiredTokenException"),
        (GITHUB.sign(claims_of("github", Job(repo_id="1"), STS_AUDIENCE)), "AccessDenied"),
        (GITHUB.sign(claims_of("github", Job(is_immutable=False), STS_AUDIENCE)), "AccessDenied"),
    ]
    for token, code in refused:
        answer = assume(sts, token)
        assert answer.status >= 400
        assert code in answer.text
