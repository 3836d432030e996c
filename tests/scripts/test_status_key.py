"""`status` and `doctor` say whether the key is locked, with the real program and each keeper."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.keys.kernel import KernelCache

if TYPE_CHECKING:
    from tests.program import Program

UNLOCKED = {"BROKERCTL_PASSPHRASE": "correct horse battery"}
CONFIG = """[profile.ci]
issuer = "https://issuer.example"
flow = "client_credentials"
client_id = "ci"
client_secret = { env = "CI_SECRET" }
"""


def test_a_file_is_never_locked(brokerctl: Program) -> None:
    """One line on the key after those of the profiles; the same in --json and in doctor."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(CONFIG)
    done = brokerctl("status")
    assert done.stdout == "ci: ready\nkey: not locked, kept by 'file'\n"
    answer = json.loads(brokerctl("status", "--json").stdout)
    assert answer["key"] == {"keeper": "file", "locked": False, "cached": False}
    assert "keys: not locked, kept by 'file'" in brokerctl("doctor", "--offline").stdout


@pytest.fixture
def locked(brokerctl: Program) -> Program:
    """Return a program whose passphrase keeper has a ring, and no cached key."""
    brokerctl.env["BROKERCTL_KEEPER"] = "passphrase"
    brokerctl.config(CONFIG)
    assert brokerctl("status", env=UNLOCKED).returncode == 0
    brokerctl("lock")
    return brokerctl


def test_locked_is_an_answer_and_an_error(locked: Program) -> None:
    """Exit code 6 with the hint, and what is known: who keeps the key, and that it is locked."""
    done = locked("status")
    assert (done.returncode, done.stdout) == (6, "key: locked, kept by 'passphrase'\n")
    assert "brokerctl: hint: run 'brokerctl unlock'" in done.stderr
    done = locked("status", "--json")
    assert json.loads(done.stdout) == {
        "schema": 1,
        "profiles": [],
        "strays": [],
        "revocations_queued_for": None,
        "kept": None,
        "key": {"keeper": "passphrase", "locked": True, "cached": False},
        "damaged": None,
    }
    assert json.loads(done.stderr)["error"]["name"] == "locked"
    assert "problem: keys: locked, kept by 'passphrase'" in locked("doctor").stdout


def test_a_passphrase_at_hand_unlocks(locked: Program) -> None:
    """Given in the environment, nobody is needed; `cached` says whether the kernel has it now."""
    answer = json.loads(locked("status", "--json", env=UNLOCKED).stdout)
    probe = os.urandom(16).hex()
    is_kept = KernelCache().put(probe, bytes(32), 5)
    KernelCache().drop(probe)
    assert answer["key"] == {"keeper": "passphrase", "locked": False, "cached": is_kept}
    locked("lock")
