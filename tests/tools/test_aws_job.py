"""A CI job's identity for a role's credentials: moto's STS, and the role's own trust policy."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.emulations.aws import STS_AUDIENCE, WebIdentities
from tests.emulations.jobs import Job, claims_of
from tests.emulations.session_policies import allows
from tests.tools.sts_server import Moto, Sts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.emulations.platforms import Platforms
    from tests.program import Program

ROLE = "arn:aws:iam::123456789012:role/deploy"
SUBJECTS = ["repo:octo-org@123456/octo-repo@456789:*"]
SHOW = "import os; print(os.environ['AWS_ACCESS_KEY_ID'], len(os.environ['AWS_SESSION_TOKEN']) > 9)"


@pytest.fixture
def sts(moto_process: Moto, platforms: Platforms) -> Iterator[Sts]:
    """Return an STS with a role for one repository's jobs on the emulated GitHub."""
    moto_process.reset()
    with Sts(WebIdentities([platforms.authority["github"]], SUBJECTS), moto_process) as running:
        yield running


@pytest.mark.parametrize(("repo_id", "code"), [("456789", 0), ("7", 5)])
def test_a_job_has_a_role_s_credentials(
    brokerctl: Program, platforms: Platforms, sts: Sts, repo_id: str, code: int
) -> None:
    """Each session asks for an identity of its own; another repository's job is refused."""
    brokerctl.config(
        f"[profile.deploy]\nflow = 'aws_web_identity'\nidentity = 'auto'\n"
        f"aws = {{ role = '{ROLE}', endpoint = '{sts.url}' }}\n"
    )
    job = platforms.environ("github", Job(repo_id=repo_id), brokerctl.home)
    words = ("exec", "--no-mask", "-p", "deploy", "--", sys.executable, "-c", SHOW)
    first, second = brokerctl(*words, env=job), brokerctl(*words, env=job)
    assert (first.returncode, second.returncode) == (code, code), first.stderr
    assert [one.is_given for one in sts.assumed] == [code == 0] * (2 if code == 0 else 1)
    if code == 0:
        assert first.stdout.endswith(" True\n")
        assert first.stdout != second.stdout
        assert platforms.count() == 2
    else:
        assert "AccessDenied" in first.stderr


def test_a_request_for_less_of_a_role(
    brokerctl: Program, platforms: Platforms, sts: Sts, tmp_path: Path
) -> None:
    """STS gets a session policy; each has credentials of its own, and the record says what for."""
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    own = {"Version": "2012-10-17", "Statement": statement}
    token = tmp_path / "token"
    token.write_text(platforms.authority["github"].sign(claims_of("github", Job(), STS_AUDIENCE)))
    token.chmod(0o600)
    brokerctl.config(
        f"[profile.deploy]\nflow = 'aws_web_identity'\n"
        f"exchange = {{ subject = {{ file = '{token}' }} }}\n"
        f"aws = {{ role = '{ROLE}', endpoint = '{sts.url}', policy = '{json.dumps(own)}' }}\n"
    )
    less = ("--scope", "s3:Get*", "--resource", "arn:aws:s3:::shop/*")
    whole = brokerctl("get", "deploy", "--json")
    narrow = [brokerctl("get", "deploy", *less, "--json") for _ in range(2)]
    assert [one.returncode for one in (whole, *narrow)] == [0, 0, 0], narrow[0].stderr
    assert json.loads(narrow[0].stdout)["scopes"] == ["s3:Get*"]
    values = [json.loads(one.stdout)["access_token"] for one in (whole, *narrow)]
    assert values[0] != values[1] == values[2]
    assert [json.loads(one.policy or "") == own for one in sts.assumed] == [True, False]
    sent = json.loads(sts.assumed[1].policy or "")
    asked = [("s3:GetObject", "arn:aws:s3:::shop/a"), ("s3:PutObject", "arn:aws:s3:::shop/a")]
    asked += [("s3:GetObject", "arn:aws:s3:::other/a"), ("sqs:GetQueueUrl", "arn:aws:s3:::shop/a")]
    assert [allows(sent, *one) for one in asked] == [True, False, False, False]
    done = brokerctl("exec", "-p", "deploy", *less[:2], "--", sys.executable, "-c", SHOW)
    assert done.returncode == 0, done.stderr
    assert [one.is_given for one in sts.assumed] == [True] * 3


def test_what_is_no_session_policy(brokerctl: Program, sts: Sts, tmp_path: Path) -> None:
    """Refused here with exit 4 and no request; what STS alone can count, with its own word."""
    token = tmp_path / "token"
    token.write_text("web.identity.token")
    token.chmod(0o600)
    brokerctl.config(
        f"[profile.deploy]\nflow = 'aws_web_identity'\n"
        f"exchange = {{ subject = {{ file = '{token}' }} }}\n"
        f"aws = {{ role = '{ROLE}', endpoint = '{sts.url}' }}\n"
    )
    for words, said in (
        (("--scope", "read"), "scope read is neither an action"),
        (("--resource", "https://shop.example"), "resource https://shop.example is no ARN"),
        (("--audience", "x"), "audience x is not among the profile's"),
    ):
        refused = brokerctl("get", "deploy", *words)
        assert (refused.returncode, refused.stdout) == (4, "")
        assert said in refused.stderr
    assert sts.assumed == []
    sts.code = "PackedPolicyTooLarge"
    packed = brokerctl("get", "deploy", "--scope", "s3:Put*")
    assert packed.returncode == 5
    assert "fewer actions or resources" in packed.stderr
    assert brokerctl("audit", "verify").returncode == 0
