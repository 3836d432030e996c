"""The back end as the wheel brings it, found by its entry point; brokerctl never asks itself."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests import wheel
from tests.contracts.secret_service import SecretService
from tests.idp import main_job
from tests.tools.python_tools import Desk, hosts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.index_server import Index

pytestmark = pytest.mark.slow("fills a new environment, where the sources have changed")
STORE = """
import sys
from keyring.backends import SecretService
SecretService.Keyring().set_password(*sys.argv[1:])
"""
COUNT = """
import secretstorage
found = secretstorage.search_items(secretstorage.dbus_init(), {"service": "brokerctl"})
print(len(list(found)))
"""


@pytest.fixture
def desk(brokerctl: Program) -> Desk:
    """Return the program of a clean environment, which has the library's command too."""
    made = wheel.install_by_pip()
    brokerctl.path = made.program
    brokerctl.env["PATH"] = f"{os.path.dirname(made.program)}:/usr/bin:/bin"
    return Desk(brokerctl, "keyring")


@pytest.fixture
def desktop(desk: Desk) -> Iterator[SecretService]:
    """Have the program in a desktop session with a Secret Service."""
    with SecretService() as service:
        desk.program.env["DBUS_SESSION_BUS_ADDRESS"] = service.environ["DBUS_SESSION_BUS_ADDRESS"]
        yield service


def test_the_entry_point_is_found(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """With no configuration at all: it is the only back end, or the first of the chain."""
    main_job.service(desk.program, issuer, hosts=hosts_of(index), username='"robot"')
    said = desk.run("keyring", "--list-backends")
    assert "brokerctl.keyring_backend.Backend (priority: 9)" in said
    token = desk.run("keyring", "get", index.simple, "robot").strip()
    assert issuer.use(token).status == 200
    assert "is for the user robot" in desk.run("keyring", "get", index.simple, "bob", code=1)
    assert not desk.run("keyring", "get", "https://other.example.com/", "robot", code=1)
    assert issuer.counts()["grants"] == {"client_credentials": 1}


def test_from_a_folder_with_a_space(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """Through the library's own property, and a link."""
    folder = desk.target("a folder")
    os.mkdir(folder)
    link = os.path.join(folder, "brokerctl")
    os.symlink(desk.program.path, link)
    main_job.service(desk.program, issuer, hosts=hosts_of(index))
    words = ("keyring", "get", index.simple, "oauth2")
    token = desk.run(*words, KEYRING_PROPERTY_BROKERCTL=link).strip()
    assert issuer.use(token).status == 200


def test_no_keyring_is_here_says_the_keeper(desk: Desk) -> None:
    """Security: with our back end as the only one, brokerctl's key is not kept in brokerctl."""
    desk.program.config("")
    for wanted in ({}, {"PYTHON_KEYRING_BACKEND": "brokerctl.keyring_backend.Backend"}):
        done = desk.program("status", env={"BROKERCTL_KEEPER": "keyring", **wanted})
        assert done.returncode == 6
        assert "the OS keyring is not here" in done.stderr


def test_the_keeper_uses_the_desktop_s(desk: Desk, desktop: SecretService) -> None:
    """Security: ours comes first in the chain, and the key lies in the Secret Service."""
    desk.program.config("")
    desk.program.env["BROKERCTL_KEEPER"] = "keyring"
    variables = {"PYTHON_KEYRING_BACKEND": "brokerctl.keyring_backend.Backend"}
    assert desk.program("status", env=variables).returncode == 0
    python = os.path.join(os.path.dirname(desk.program.path), "python")
    assert subprocess.check_output([python, "-c", COUNT], env=desktop.environ) == b"1\n"
    assert not desk.records("token")


def test_a_reference_into_the_keyring(
    desk: Desk, desktop: SecretService, issuer: DemoIssuer, index: Index
) -> None:
    """Security: a profile's secret is never sought at itself, even under its own index's URL."""
    python = os.path.join(os.path.dirname(desk.program.path), "python")
    secret = issuer.secrets["basic"] or ""
    words = [python, "-I", "-c", STORE, f"{index.url}/simple", "ci", secret]
    subprocess.run(words, env=desktop.environ, check=True)
    reference = f'{{ keyring = "{index.url}/simple/ci" }}'
    main_job.service(desk.program, issuer, hosts=hosts_of(index), client_secret=reference)
    token = desk.run("keyring", "get", f"{index.url}/simple", "ci").strip()
    assert issuer.use(token).status == 200
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert len(desk.records("token.handed_out")) == 1


def test_a_command_that_ends_at_brokerctl(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """Neither the library nor our command waits for the lock of its own grant."""
    command = desk.target("ours")
    with open(command, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec "{desk.program.path}" helper keyring "$@"\n')
    os.chmod(command, 0o700)
    for name in ("keyring", command):
        words = f'{{ command = ["{name}", "get", "{index.simple}", "oauth2"] }}'
        main_job.service(desk.program, issuer, hosts=hosts_of(index), client_secret=words)
        begun = time.monotonic()
        done = desk.program("get", "service", "--fresh")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{name}, asked for a secret, ended with 1" in done.stderr
        assert time.monotonic() - begun < 15
    assert issuer.counts()["grants"] == {}
