"""AWS's credential_process, and the set-up of AWS's own configuration."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from brokerctl.broker.request import DecidedRequest
from brokerctl.freshness import SDK_MARGIN
from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError, complete
from brokerctl.helpers.aws import Aws
from brokerctl.helpers.outcomes import Malformed
from brokerctl.helpers.serve import ParentProcess
from brokerctl.model import Decision, Exchange, Reference, Requester, Token, TokenRequest
from brokerctl.oauth import aws_credentials
from brokerctl.secret import Secret
from tests.contracts.helper_contract import ANSWER, PROFILE, credential
from tests.flows import STS_VALUE, STS_WORDS

WANTED = CredentialRequest(action="get", profile="forge", margin=SDK_MARGIN)


@pytest.mark.parametrize("option", ["--profile", "-p"])
def test_the_profile_is_named(option: str) -> None:
    """By the user's own configuration, for AWS says nothing else."""
    assert Aws().read([option, "forge"], b"", {}) == WANTED


@pytest.mark.parametrize(
    "words", [[], ["--profile"], ["--profile", ""], ["forge"], ["--profile", "a", "b"], ["-x", "a"]]
)
def test_without_a_profile_there_is_no_request(words: list[str]) -> None:
    """No profile is the default: it would be anybody's role."""
    with pytest.raises(MalformedError):
        Aws().read(words, b"", {})
    assert Aws().answer(Malformed()) == HelperReply(exit_code=2)


def test_the_answer_is_what_every_sdk_reads() -> None:
    """The version is a number, and the end is the one that was decided on, not the longer one."""
    answer = ANSWER.replace(value=Secret(STS_VALUE), expires_at=1_795_476_591.7)
    said = json.loads(credential(Aws(), WANTED, answer, PROFILE).stdout)
    assert said == {**STS_WORDS, "Version": 1, "Expiration": "2026-11-23T23:29:51Z"}
    assert type(said["Version"]) is int


@pytest.mark.parametrize(
    ("life_s", "left_s", "served"),
    [
        (3600, 901, ("get", "aws")),
        (3600, 899, ("get",)),
        (43200, 899, ("get",)),
        (900, 451, ("get", "aws")),
        (900, 449, ("get",)),
    ],
)
def test_what_an_sdk_would_ask_for_again_is_not_served(
    life_s: int, left_s: int, served: tuple[str, ...]
) -> None:
    """Fifteen minutes, or half of a short life, must be left; `get` takes less."""
    now = time.time()
    token = Token(
        value=Secret(STS_VALUE),
        fingerprint="0" * 32,
        token_type="N_A",
        scopes=(),
        issued_at=now + left_s - life_s,
        expires_at=now + left_s,
    )
    assert served == tuple(tool for tool in ("get", "aws") if order(tool).serves(token, now))
    assert order("aws", min_ttl_s=60).serves(token, now)
    assert order("aws", exchange=None).serves(token, now)  # the web identity itself


def order(tool: str, **changes: object) -> DecidedRequest:
    """Return a request of a tool for a role's credentials."""
    token = Reference(kind="file", target=("/run/token",))
    source = Exchange(subject=token, subject_type="urn:x:jwt")
    fields: dict[str, Any] = {"flow": "aws_web_identity", "exchange": source, **changes}
    profile = PROFILE.replace(**fields)
    asked = TokenRequest(profile="forge", requester=Requester(uid=0, pid=1, tool=tool))
    if tool == "aws":
        asked = complete(ParentProcess({}), Aws(), asked, WANTED, profile)
    said = Decision(effect="allow", rule="x", layer="x", reason="x")
    return DecidedRequest(profile, asked, said)


def test_a_value_and_its_three_words() -> None:
    """They come out as they went in."""
    assert aws_credentials.words_of(Secret(STS_VALUE)) == STS_WORDS
