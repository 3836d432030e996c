"""`exec --aws`: the real boto3 and AWS command line ask the session's endpoint by themselves."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import PROGRAM
from tests.tools.clients import require_client
from tests.tools.test_aws import ROLE, Desk

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.sts_server import Sts

LIFE_S = 4
ASSUMED = "assumed-role/deploy/alice"
# One client, as a long job has it: each call is signed with what botocore has at that moment.
BOTO = """
import boto3, datetime, time
session = boto3.Session()
client, credentials = session.client("sts"), session.get_credentials()
seen, until = [], time.monotonic() + 90
while len(seen) < 3 and time.monotonic() < until:
    assert client.get_caller_identity()["Arn"].endswith("ASSUMED")
    frozen = credentials.get_frozen_credentials()
    if frozen.access_key not in seen:
        seen.append(frozen.access_key)
        left = credentials._expiry_time - datetime.datetime.now(datetime.timezone.utc)
        print(frozen.access_key, left.total_seconds() > 0, credentials.method)
    time.sleep(0.05)
"""


@pytest.fixture
def desk(brokerctl: Program, issuer: DemoIssuer, sts: Sts) -> Desk:
    """Return a desk with a profile for one role; the user's own files have other credentials."""
    desk = Desk(brokerctl, sts)
    main_job.service(brokerctl, issuer)
    desk.add()
    os.makedirs(os.path.dirname(desk.aws), exist_ok=True)
    own = "[default]\naws_access_key_id = AKIAOWN\naws_secret_access_key = own\n"
    with open(
        os.path.join(os.path.dirname(desk.aws), "credentials"), "w", encoding="utf-8"
    ) as file:
        file.write(own)
    return desk


def run(desk: Desk, *words: str, code: int = 0) -> str:
    """Run a tool in a session, whose caller has static keys and a profile of its own."""
    own = {"AWS_ACCESS_KEY_ID": "AKIAOLD", "AWS_SECRET_ACCESS_KEY": "old", "AWS_PROFILE": "other"}
    return desk.run(PROGRAM, "exec", "--aws", "deploy", "--", *words, code=code, **own)


@pytest.mark.slow("credentials that live for seconds, and two expiries")
def test_boto3_lives_through_two_expiries(desk: Desk) -> None:
    """Every call is good, with about one exchange for each half of a life, and all is recorded."""
    desk.sts.lifetime_s = LIFE_S
    said = run(desk, require_client("python"), "-c", BOTO.replace("ASSUMED", ASSUMED))
    lines = [line.split() for line in said.splitlines() if line.startswith("ASIA")]
    assert [line[1:] for line in lines] == [["True", "container-role"]] * 3
    given = [one for one in desk.sts.assumed if one.is_given]
    assert {one.role for one in given} == {ROLE}
    assert 3 <= len(given) <= 3 + len(lines)
    asked = [one for one in desk.records("token.handed_out") if one["profile"] == "deploy"]
    assert len(asked) >= 3
    assert {one["requester"]["tool"] for one in asked} == {"aws"}  # type: ignore[index]  # a record


def test_the_command_line_takes_no_other_credentials(desk: Desk) -> None:
    """Neither those of the caller's environment, nor those of the user's file."""
    words = ("sts", "get-caller-identity", "--query", "Arn", "--output", "text")
    assert ASSUMED in run(desk, require_client("aws"), *words)


def test_a_session_s_limit_is_the_end_that_sdks_see(desk: Desk) -> None:
    """STS gives an hour; what --ttl leaves of it is what a tool reads."""
    show = "import boto3; print(boto3.Session().get_credentials()._expiry_time.timestamp())"
    given = ("exec", "--aws", "deploy", "--ttl", "5m", "--")
    before = time.time()
    ends_at = float(desk.run(PROGRAM, *given, require_client("python"), "-c", show))
    assert before < ends_at <= time.time() + 300


def test_nothing_is_left_of_it_after_the_end(desk: Desk) -> None:
    """No secret in the environment, the file gone, and nobody answers."""
    shown = run(desk, "env")
    variables = dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("AWS_"))
    word_file = variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
    assert variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
    assert not any(name in variables for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"))
    assert "ASIA" not in shown
    assert not os.path.exists(os.path.dirname(word_file))
    said = desk.run(require_client("aws"), "sts", "get-caller-identity", code=1, **variables)
    assert ASSUMED not in said


def test_a_refusal_reaches_the_tool(desk: Desk) -> None:
    """With the words of the record; the tool's own retries cost the issuer nothing."""
    desk.sts.code = "AccessDenied"
    said = run(desk, require_client("aws"), "sts", "get-caller-identity", code=1)
    assert "AccessDenied" in said
    assert len(desk.sts.assumed) <= 2


def test_a_file_of_credentials_is_replaced_whole(desk: Desk) -> None:
    """It is the same JSON each time, by which they are told apart."""
    desk.sts.lifetime_s = LIFE_S
    show = """
import json, os, time
seen, until = [], time.monotonic() + 60
while len(seen) < 2 and time.monotonic() < until:
    with open(os.environ["CREDENTIALS"]) as file:
        found = json.load(file)
    if found not in seen:
        seen.append(found)
        print(*sorted(found))
    time.sleep(0.001)
"""
    words = ("exec", "--file", "CREDENTIALS=deploy", "--", require_client("python"), "-c", show)
    said = desk.run(PROGRAM, *words)
    line = "AccessKeyId Expiration SecretAccessKey SessionToken Version"
    assert [one for one in said.splitlines() if one == line] == [line] * 2
