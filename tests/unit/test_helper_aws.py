"""AWS's credential_process, and the set-up of AWS's own configuration."""

from __future__ import annotations

import json

import pytest

from brokerctl import triple
from brokerctl.helpers import Answer, MalformedError, Wanted
from brokerctl.helpers.aws import Aws
from brokerctl.secret import Secret
from tests.contracts.helper_contract import ANSWER, PROFILE
from tests.flows import STS_VALUE, STS_WORDS

WANTED = Wanted(action="get", profile="forge")


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
    assert Aws().malformed() == Answer(exit_code=2)


def test_the_answer_is_what_every_sdk_reads() -> None:
    """The version is a number, and the end is the one that was decided on, not the longer one."""
    answer = ANSWER.replace(value=Secret(STS_VALUE), expires_at=1_795_476_591.7)
    said = json.loads(Aws().credential(WANTED, answer, PROFILE).stdout)
    assert said == {**STS_WORDS, "Version": 1, "Expiration": "2026-11-23T23:29:51Z"}
    assert type(said["Version"]) is int


def test_a_value_and_its_three_words() -> None:
    """They come out as they went in."""
    assert triple.words_of(Secret(STS_VALUE)) == STS_WORDS
