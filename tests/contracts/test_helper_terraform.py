"""Terraform's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from brokerctl.helpers.outcomes import NotOurs
from brokerctl.helpers.terraform import Terraform
from tests.contracts.helper_contract import HelperContract


class TestTerraform(HelperContract):
    """Terraform: exit code 1 for whatever is wrong."""

    name = "terraform"
    words: ClassVar[list[str]] = ["get", "registry.example.com:8443"]
    request = b""
    url = "https://registry.example.com:8443"
    refusal_code = 1

    def test_not_ours_is_an_empty_object(self) -> None:
        """No text at all would be an error."""
        assert Terraform().answer(NotOurs()).stdout == b"{}\n"
