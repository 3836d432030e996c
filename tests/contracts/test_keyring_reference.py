"""A secret reference into the OS keyring, against a real gnome-keyring on a real session bus."""

from __future__ import annotations

import subprocess
import sys

import pytest

from brokerctl.config.references import resolve
from brokerctl.errors import UsageError
from brokerctl.model import Reference
from tests.contracts.secret_service import SecretService

STORE = """
from keyring.backends import SecretService
SecretService.Keyring().set_password("https://login.example.com", "ci", "hunter2-from-keyring")
"""


def nothing(_: str) -> None:
    """Stand for our own store, which is not asked here."""


def test_an_entry_is_found_and_a_locked_keyring_never_waits() -> None:
    """`{ keyring = "service/name" }` finds another program's entry; locked, it says so at once."""
    entry = Reference(kind="keyring", target=("https://login.example.com/ci",))
    other = Reference(kind="keyring", target=("https://login.example.com/cd",))
    with SecretService() as service:
        subprocess.run([sys.executable, "-I", "-c", STORE], env=service.environ, check=True)
        found = resolve(entry, service.environ, nothing)
        assert found.reveal() == "hunter2-from-keyring"
        with pytest.raises(UsageError, match="has no entry 'cd'"):
            resolve(other, service.environ, nothing)
        service.call("lock")
        with pytest.raises(UsageError, match="is locked"):
            resolve(entry, service.environ, nothing)
