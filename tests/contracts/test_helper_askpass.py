"""The askpass helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from tests.contracts.helper_contract import HelperContract


class TestAskpass(HelperContract):
    """Askpass: exit code 1 is no answer."""

    name = "askpass"
    words: ClassVar[list[str]] = ["Password for 'https://git.example.com': "]
    request = b""
    url = "https://git.example.com"
    refusal_code = 1
