"""Requests whose process was killed, or whose answer never came: `revoke` says what may live on."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.earlier_version import extract_earlier, sharing_home
from tests.idp import main_job

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.idp.issuer import OidcProvider
    from tests.program import Program


@pytest.fixture(autouse=True)
def keeper(brokerctl: Program) -> None:
    """Keep the key in a file."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"


def kill_in_request(process: subprocess.Popen[str], issuer: OidcProvider, grant: str) -> None:
    """Kill a process once the issuer has its request, before the answer is stored."""
    until = time.monotonic() + 60
    while not issuer.counts()["grants"].get(grant):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("words", [("service",), ("--all",)])
def test_a_client_s_first_request_that_was_killed(
    brokerctl: Program, http_issuer: OidcProvider, words: tuple[str, ...]
) -> None:
    """Nothing is held, and a token may live: said once, with exit code 9."""
    main_job.service(brokerctl, http_issuer)
    http_issuer.mode(token="slow:9000")
    with brokerctl.start("get", "service") as process:
        kill_in_request(process, http_issuer, "client_credentials")
    http_issuer.reset()
    done = brokerctl("revoke", *words)
    assert done.returncode == 9, done.stderr
    assert "a request that got no answer may have brought it" in done.stdout
    assert brokerctl("revoke", *words).returncode == 0


@pytest.mark.parametrize("end", ["killed", "timed out"])
def test_a_login_without_an_answer(brokerctl: Program, http_issuer: OidcProvider, end: str) -> None:
    """The issuer may have made a grant: the login, its record and the next `revoke` say so."""
    name = main_job.person(brokerctl, http_issuer, timeout='"3s"')
    env = main_job.scripted_browser(http_issuer)
    http_issuer.mode(token="slow:9000")
    with brokerctl.start("login", name, env=env) as process:
        if end == "killed":
            kill_in_request(process, http_issuer, "authorization_code")
        else:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 5, err
            assert "the issuer may have made a grant, and nobody holds it" in err
            log = brokerctl("audit", "log", "--event", "login.refused", "--json").stdout
            assert "the issuer may have made a grant" in log
    http_issuer.reset()
    done = brokerctl("revoke", name)
    assert done.returncode == 9, done.stderr
    assert "a login that got no answer may have brought it" in done.stdout
    assert brokerctl("revoke", name).returncode == 0


def kill_login_of(program: Program, issuer: OidcProvider, name: str, subject: str) -> None:
    """Kill a first login of a subject that nothing else names, while it waits for its grant."""
    issuer.mode(token="slow:9000")
    env = main_job.scripted_browser(issuer)
    with program.start("login", name, "--subject", subject, env=env) as process:
        kill_in_request(process, issuer, "authorization_code")
    issuer.reset()


def test_a_killed_login_of_another_subject(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Only its intent names the subject: `revoke --all` finds it there, and tells it once."""
    name = main_job.person(brokerctl, http_issuer)
    kill_login_of(brokerctl, http_issuer, name, "alice")
    done = brokerctl("revoke", "--all", "--json")
    assert done.returncode == 9, done.stderr
    (told,) = json.loads(done.stdout)["endings"]
    assert (told["profile"], told["subject"]) == (name, "alice")
    assert told["reason"].startswith("a login that got no answer may have brought it")
    assert brokerctl("revoke", "--all").returncode == 0


def test_a_killed_login_of_an_earlier_version(
    brokerctl: Program, http_issuer: OidcProvider, tmp_path: Path
) -> None:
    """Its intent names no subject: `revoke --all` says so until its own revoke was asked."""
    name = main_job.person(brokerctl, http_issuer)
    earlier = sharing_home(brokerctl, extract_earlier(tmp_path))
    kill_login_of(earlier, http_issuer, name, "alice")
    for words in (("--all",), ("--all", "--json")):
        done = brokerctl("revoke", *words)
        assert done.returncode == 9, done.stderr
        assert "1 login that got no answer may have brought a grant" in done.stderr
        assert "--subject NAME" in done.stderr
    done = brokerctl("revoke", name, "--subject", "alice")
    assert done.returncode == 9, done.stderr
    assert "a login that got no answer may have brought it" in done.stdout
    assert brokerctl("revoke", "--all").returncode == 0


def test_a_login_after_a_killed_one(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """The second login has a grant of its own; the first one's is told of all the same."""
    name = main_job.person(brokerctl, http_issuer)
    env = main_job.scripted_browser(http_issuer)
    http_issuer.mode(token="slow:9000")
    with brokerctl.start("login", name, env=env) as process:
        kill_in_request(process, http_issuer, "authorization_code")
    http_issuer.reset()
    assert brokerctl("login", name, env=env).returncode == 0
    done = brokerctl("revoke", name)
    assert done.returncode == 9, done.stderr
    assert "a login that got no answer may have brought it" in done.stdout
