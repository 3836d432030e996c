"""A login that is stopped, killed or failed loses nothing, and writes nothing secret."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from brokerctl.demo.serve import Server
from brokerctl.demo.state import Settings
from tests.idp import main_job, test_login
from tests.idp.test_login import scripted

if TYPE_CHECKING:
    from tests.idp.test_demo_issuer import DemoIssuer
    from tests.program import Program

# The same fixtures as for every login: pytest finds them by these names.
file_keeper = test_login.file_keeper
demo_process = test_login.demo_process
demo = test_login.demo


def test_stopped(brokerctl: Program, demo: DemoIssuer) -> None:
    """Ctrl-C ends the wait at once and leaves nothing half done."""
    name = main_job.person(brokerctl, demo)
    process = brokerctl.start("login", name, "--no-browser")
    assert process.stderr
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert brokerctl("login", name, env=scripted(demo)).returncode == 0


def test_killed_before_the_answer(brokerctl: Program, demo: DemoIssuer) -> None:
    """Killed while the token request is out, the grant from before is as good as it was."""
    name = main_job.person(brokerctl, demo)
    assert brokerctl("login", name, env=scripted(demo)).returncode == 0
    demo.reset()
    demo.mode(token="hang")
    process = brokerctl.start("login", name, env=scripted(demo))
    while not demo.counts()["grants"]:
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=10)
    demo.reset()
    fresh = brokerctl("get", name, "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    assert brokerctl("login", name, env=scripted(demo)).returncode == 0


def test_issuer_down(brokerctl: Program, demo: DemoIssuer) -> None:
    """A login that the issuer fails ends with exit 5 and keeps the grant from before."""
    name = main_job.person(brokerctl, demo)
    assert brokerctl("login", name, env=scripted(demo)).returncode == 0
    demo.mode(token="503")
    assert brokerctl("login", name, env=scripted(demo)).returncode == 5
    demo.reset()
    assert brokerctl("get", name, "--fresh").returncode == 0


def test_nothing_secret_is_written(brokerctl: Program) -> None:
    """No refresh token and no code is in any file or stream of login, get and revoke."""
    with Server("127.0.0.1", 0, Settings(auto_approve=True)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        issuer: Any = SimpleNamespace(url=server.issuer.url, ca_file=None)
        name = main_job.person(brokerctl, issuer)
        done = [brokerctl("login", name, env=scripted(issuer)), brokerctl("get", name, "--fresh")]
        done.append(brokerctl("revoke", name))
        server.shutdown()
        thread.join()
        kinds = server.state.tokens.items()
        secrets = [value for value, token in kinds if token.kind == "refresh_token"]
        secrets += server.state.codes
    assert len(secrets) == 3
    for folder, _, files in os.walk(brokerctl.home):
        for file in files:
            with open(os.path.join(folder, file), "rb") as opened:
                text = opened.read().decode("latin-1")
            assert not [secret for secret in secrets if secret in text], file
    assert [each.returncode for each in done] == [0, 0, 0]
