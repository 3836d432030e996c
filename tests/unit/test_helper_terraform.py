"""Terraform's protocol: what is a request, and what is answered."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl import jsonlite
from brokerctl.config.hosts import parse_url
from brokerctl.errors import UsageError
from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError
from brokerctl.helpers.outcomes import Malformed
from brokerctl.helpers.terraform import Terraform
from brokerctl.secret import Secret
from tests.contracts.helper_contract import ANSWER, PROFILE, credential

NOT_OURS = HelperReply(stdout=b"{}\n")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["get"],
        ["get", "a.example", "b.example"],
        ["--profile", "p", "get", "a.example"],
        ["erase", "a.example"],
        ["GET", "a.example"],
        ["", "a.example"],
    ],
)
def test_what_terraform_never_says_is_refused(words: list[str]) -> None:
    """Neither fewer words nor more, nor another operation."""
    with pytest.raises(MalformedError):
        Terraform().read(words, b"", {})


@pytest.mark.parametrize(
    "host",
    [
        "",
        "ours.example/",
        "ours.example/@evil.example",
        "alice@ours.example",
        "ours.example?x",
        "ours.example#x",
        "ours.example\\@evil.example",
        "ours.example%2f",
    ],
)
def test_a_host_that_is_more_than_a_host_is_not_ours(host: str) -> None:
    """Security: what would end the host that is compared is never put into a URL."""
    assert Terraform().read(["get", host], b"", {}).reply == NOT_OURS
    assert Terraform().read(["forget", host], b"", {}).reply == HelperReply()


def test_forget_is_for_whichever_token_it_is() -> None:
    """`terraform logout` does not say which."""
    asked = Terraform().read(["forget", "ours.example:8443"], b"", {})
    assert asked == CredentialRequest(action="forget", url="https://ours.example:8443")


def test_what_is_stored_is_not_kept() -> None:
    """Terraform shows the reason; what it sends is not even looked at."""
    said = Terraform().read(["store", "ours.example"], b'{"token":"foreign"}', {}).reply
    assert said is not None
    assert (said.exit_code, said.stdout) == (1, b"")
    assert said.note
    assert "foreign" not in said.note


def test_the_answer_is_json_whatever_the_token_is() -> None:
    """A quote in it ends nothing."""
    asked = CredentialRequest(action="get", url="https://ours.example")
    token = 'a"},{"\\b'
    said = credential(Terraform(), asked, ANSWER.replace(value=Secret(token)), PROFILE)
    assert jsonlite.loads(said.stdout) == {"token": token}


def test_what_is_wrong_is_exit_code_1() -> None:
    """Terraform takes the reason from stderr."""
    assert Terraform().answer(Malformed()) == HelperReply(exit_code=1)


@given(host=st.text() | st.text(alphabet="ours.exampl:8/?#@%\\ "))
def test_a_host_is_all_that_was_said(host: str) -> None:
    """Security: what is compared is the whole word, or it is nobody's."""
    asked = Terraform().read(["get", host], b"", {})
    if asked.reply is None:
        with contextlib.suppress(UsageError):
            url = parse_url(asked.url or "")
            assert (url.path, url.query) == ("", None)
            assert url.origin.removeprefix("https://") in {host.lower(), host[:-4].lower()}
