"""pnpm's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from tests.contracts.helper_contract import HelperContract


class TestPnpm(HelperContract):
    """pnpm: no URL is known, and any exit code but 0 stops it."""

    name = "pnpm"
    words: ClassVar[list[str]] = ["--profile", "forge"]
    request = b""
    url = None
    refusal_code = None
