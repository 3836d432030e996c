"""git's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from brokerctl.errors import LoginNeededError
from brokerctl.helpers.git import Git
from tests.contracts.helper_contract import HelperContract, refusal


class TestGit(HelperContract):
    """git: always exit code 0."""

    name = "git"
    words: ClassVar[list[str]] = ["get"]
    request = b"protocol=https\nhost=git.example.com\npath=team/shop.git\n\n"
    url = "https://git.example.com/team/shop.git"
    refusal_code = 0

    def test_refused_is_no_prompt(self) -> None:
        """Git would ask for a password else, and nobody has one."""
        assert refusal(Git(), LoginNeededError("x")).stdout == b"quit=1\n"
