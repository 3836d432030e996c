"""Vault's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from tests.contracts.helper_contract import HelperContract


class TestVault(HelperContract):
    """Vault: the address is in the environment."""

    name = "vault"
    words: ClassVar[list[str]] = ["get"]
    request = b""
    url = "https://vault.example.com:8200"
    refusal_code = None
    environ: ClassVar[dict[str, str]] = {"VAULT_ADDR": "https://vault.example.com:8200"}
