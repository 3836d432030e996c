"""The helper of headers keeps the contract of the room."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from brokerctl.helpers import Credential, MalformedError
from brokerctl.helpers.headers import Headers
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, HelperContract


class TestHeaders(HelperContract):
    """No request, one line of JSON, and any exit code but 0 is an error."""

    name = "headers"
    words: ClassVar[list[str]] = ["--profile", "forge"]
    request = b""
    url = None
    refusal_code = None


@pytest.mark.parametrize("is_nested", [False, True])
def test_both_forms(*, is_nested: bool) -> None:
    """The object itself, or as the member of another."""
    helper = Headers()
    words = ["-p", "forge", *(["--nested"] if is_nested else [])]
    asked = helper.read(words, b"", {})
    reply = helper.answer(Credential(request=asked, token=ANSWER, profile=PROFILE))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert json.loads(reply.stdout) == ({"headers": headers} if is_nested else headers)
    assert (reply.stdout.count(b"\n"), reply.exit_code) == (1, 0)


def test_what_narrows_is_read() -> None:
    """Whose token, and its scopes, in one word or in several."""
    words = ["--profile=p", "--subject", "ann", "--scope", "a b", "--scope=c", "--nested"]
    asked = Headers().read(words, b"", {})
    assert (asked.profile, asked.subject, asked.scopes) == ("p", "ann", ("a", "b", "c"))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--nested"],
        ["--profile"],
        ["--profile="],
        ["-p", "a", "-p", "b"],
        ["-p", "a", "--subject", ""],
        ["-p", "a", "--subject", "x", "--subject", "y"],
        ["-p", "a", "--nested=1"],
        ["-p", "a", "--scope"],
        ["-p", "a", "--fresh"],
        ["-p", "a", "more"],
    ],
)
def test_other_words_are_refused(words: list[str]) -> None:
    """An empty subject is nobody's name: it does not mean the profile's own."""
    with pytest.raises(MalformedError):
        Headers().read(words, b"", {})
