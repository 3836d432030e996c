"""Bazel's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from brokerctl.helpers.bazel import Bazel
from tests.contracts.helper_contract import HelperContract


class TestBazel(HelperContract):
    """Bazel: the exit code is that of the error."""

    name = "bazel"
    words: ClassVar[list[str]] = ["get"]
    request = b'{"uri":"https://cache.example.com/blobs/1"}'
    url = "https://cache.example.com/blobs/1"
    refusal_code = None

    def test_not_ours_is_an_error(self) -> None:
        """The specification wants one for what is not supported."""
        answer = Bazel().not_ours()
        assert (answer.exit_code, answer.stdout) == (2, b"")
        assert answer.note
