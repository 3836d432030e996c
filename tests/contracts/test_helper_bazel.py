"""Bazel's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from brokerctl.helpers import HelperReply
from brokerctl.helpers.bazel import Bazel
from brokerctl.helpers.outcomes import NotOurs
from tests.contracts.helper_contract import HelperContract


class TestBazel(HelperContract):
    """Bazel: the exit code is that of the error."""

    name = "bazel"
    words: ClassVar[list[str]] = ["get"]
    request = b'{"uri":"https://cache.example.com/blobs/1"}'
    url = "https://cache.example.com/blobs/1"
    refusal_code = None

    def test_not_ours_is_an_empty_object(self) -> None:
        """An error would end a build that fetches something public from beside our hosts."""
        assert Bazel().answer(NotOurs()) == HelperReply(stdout=b"{}\n")
