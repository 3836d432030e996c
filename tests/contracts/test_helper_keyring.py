"""keyring's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from tests.contracts.helper_contract import HelperContract


class TestKeyring(HelperContract):
    """keyring: whatever is not answered is exit code 1 and no output."""

    name = "keyring"
    words: ClassVar[list[str]] = ["get", "https://pypi.example.com/simple/", "--mode", "creds"]
    request = b""
    url = "https://pypi.example.com/simple/"
    refusal_code = 1
