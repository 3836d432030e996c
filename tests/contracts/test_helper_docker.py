"""docker's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from brokerctl.errors import DeniedError, LoginNeededError
from brokerctl.helpers.docker import Docker
from brokerctl.helpers.outcomes import NotOurs
from tests.contracts.helper_contract import HelperContract, refusal

NOT_FOUND = b"credentials not found in native keychain\n"


class TestDocker(HelperContract):
    """docker: errors on stdout, with exit code 1."""

    name = "docker"
    words: ClassVar[list[str]] = ["get"]
    request = b"registry.example.com:5000"
    url = "https://registry.example.com:5000"
    refusal_code = 1

    def test_who_has_to_log_in_has_nothing_here(self) -> None:
        """Any other text would be fatal in skopeo, even where the image is public."""
        assert refusal(Docker(), LoginNeededError("x")).stdout == NOT_FOUND
        assert Docker().answer(NotOurs()).stdout == NOT_FOUND

    def test_denied_is_not_not_found(self) -> None:
        """A tool must not go on as if nobody had been asked."""
        assert refusal(Docker(), DeniedError("no")).stdout == b"brokerctl: no\n"
