"""Signals at an unlucky moment: no traceback, and no grant that nobody holds."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program


@pytest.fixture(autouse=True)
def keeper(brokerctl: Program) -> None:
    """Keep the key in a file."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"


def test_an_interrupted_wait_has_no_traceback(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """^C while another process has the grant's lock ends `get` with 130 and not a word."""
    name = main_job.person(brokerctl, http_issuer)
    login = brokerctl("login", name, env=main_job.scripted_browser(http_issuer))
    assert login.returncode == 0, login.stderr
    locks = os.path.join(brokerctl.home, "state", "v1", "locks")
    fd = os.open(os.path.join(locks, min(os.listdir(locks))), os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with brokerctl.start("get", name, "--fresh") as process:
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
    finally:
        os.close(fd)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_browser_that_stays_open_costs_no_grant(
    brokerctl: Program, http_issuer: OidcProvider, number: signal.Signals
) -> None:
    """A signal that comes during the token request waits until the grant is stored."""
    name = main_job.person(brokerctl, http_issuer)
    visit = f"/usr/bin/python3 {main_job.BROWSER}"
    script = os.path.join(brokerctl.home, "browser")
    with open(os.open(script, os.O_WRONLY | os.O_CREAT, 0o700), "w") as file:
        file.write(f'#!/bin/sh\n{visit} "$1"\nsleep 9\n')
    env = {**main_job.scripted_browser(http_issuer), "BROWSER": f"{script} %s"}
    http_issuer.mode(token="slow:2000")
    with brokerctl.start("login", name, env=env) as process:
        while not http_issuer.counts()["grants"].get("authorization_code"):
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=20)
    http_issuer.reset()
    done = brokerctl("get", name)
    assert done.returncode == 0, done.stderr
