"""What reaches the programs that brokerctl starts: nothing that opens its store or is a secret."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.idp.test_demo_issuer import DemoIssuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

OTHER = """
[profile.other]
issuer = "https://issuer.example"
flow = "client_credentials"
client_id = "other"
client_secret = { env = "OTHER_CLIENT_SECRET" }
"""
NOTES = """#!/bin/sh
env > "$HOME/browser.env"
exec "$@"
"""


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One demo issuer for this file."""
    with DemoIssuer(tempfile.mkdtemp(prefix="demo-", dir=trace_dir)) as running:
        yield running


def test_a_browser_gets_no_client_secret(brokerctl: Program, demo: DemoIssuer) -> None:
    """The variable that any profile's reference names is taken out before a browser starts."""
    brokerctl.env |= {"BROKERCTL_KEEPER": "file", "OTHER_CLIENT_SECRET": "s3cret", "PLAIN": "x"}
    name = main_job.person(brokerctl, demo)
    path = os.path.join(brokerctl.home, "config.toml")
    with open(path, "a", encoding="utf-8") as file:
        file.write(OTHER)
    notes = os.path.join(brokerctl.home, "notes")
    with open(os.open(notes, os.O_WRONLY | os.O_CREAT, 0o700), "w", encoding="utf-8") as file:
        file.write(NOTES)
    browser = shlex.join([notes, sys.executable, main_job.BROWSER])
    done = brokerctl("login", name, env={"BROWSER": f"{browser} %s"})
    assert done.returncode == 0, done.stderr
    with open(os.path.join(brokerctl.home, "browser.env"), encoding="utf-8") as file:
        seen = file.read().splitlines()
    assert "PLAIN=x" in seen
    assert not [line for line in seen if "CLIENT_SECRET" in line or "s3cret" in line]


def test_a_command_gets_no_secret_of_another_profile(brokerctl: Program, demo: DemoIssuer) -> None:
    """What one profile's secret is asked from sees no other profile's."""
    secret = demo.secrets["basic"]
    notes = os.path.join(brokerctl.home, "ask")
    with open(os.open(notes, os.O_WRONLY | os.O_CREAT, 0o700), "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\nenv > {shlex.quote(brokerctl.home)}/ask.env\necho '{secret}'\n")
    brokerctl.env |= {"BROKERCTL_KEEPER": "file", "OTHER_CLIENT_SECRET": "s3cret", "PLAIN": "x"}
    name = main_job.service(brokerctl, demo)
    path = os.path.join(brokerctl.home, "config.toml")
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    reference = f'client_secret = {{ command = ["{notes}"] }}'
    lines = [reference if line.startswith("client_secret") else line for line in lines]
    brokerctl.config("\n".join(lines) + OTHER)
    done = brokerctl("get", name)
    assert done.returncode == 0, done.stderr
    with open(os.path.join(brokerctl.home, "ask.env"), encoding="utf-8") as file:
        seen = file.read().splitlines()
    assert "PLAIN=x" in seen
    assert not [line for line in seen if "CLIENT_SECRET" in line]
