"""Another user of the machine, who reads command lines and speaks to loopback, logs nobody in."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.idp import main_job, test_login
from tests.idp.browser import Browser
from tests.idp.test_login_terminal import Elsewhere, matched
from tests.machine.room import SOMEBODY_ELSE, require_root
from tests.program import PROGRAM, require_tool

if TYPE_CHECKING:
    from tests.idp.test_demo_issuer import DemoIssuer
    from tests.program import Program

# The same fixtures as for every login: pytest finds them by these names.
file_keeper = test_login.file_keeper
demo_process = test_login.demo_process
demo = test_login.demo
NOBODY = 65534


def as_somebody_else(url: str) -> int:
    """Return the status that a program of another uid is answered with."""
    require_root()
    words = [require_tool("curl"), "-s", "-o", "/dev/null", "-w", "%{http_code}", url]
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/", **who)  # type: ignore[call-overload]  # a table of Popen's own
    return int(done.stdout)


def noted(brokerctl: Program) -> str:
    """Make a browser that only notes its arguments, and return its words for BROWSER."""
    script = os.path.join(brokerctl.home, "browser")
    with open(script, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nprintf "%s\\n" "$*" >{script}.new; mv {script}.new {script}.said\n')
    os.chmod(script, 0o700)
    return script


def said(script: str) -> str:
    """Return the arguments that the browser got."""
    for _ in range(1000):
        if os.path.exists(f"{script}.said"):
            with open(f"{script}.said", encoding="utf-8") as file:
                return file.read().strip()
        time.sleep(0.02)
    raise AssertionError("no browser was started")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return how a login ended."""
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def test_a_command_line_tells_nothing(brokerctl: Program, demo: DemoIssuer) -> None:
    """What all users can read leads the login's own user to the issuer, and nobody else."""
    name = main_job.person(brokerctl, demo)
    script = noted(brokerctl)
    process = brokerctl.start("login", name, env={"BROWSER": script})
    start = said(script)
    assert start.startswith("http://127.0.0.1:")
    assert "state" not in start
    assert demo.url not in start
    assert as_somebody_else(start) == 403
    assert "can be closed" in Browser().open(start).text
    code, stdout, stderr = ended(process)
    assert (code, "as alice" in stdout) == (0, True), stderr
    assert "refused a program of another user here (uid 65534)" in stderr


def test_another_user_s_callback(brokerctl: Program, demo: DemoIssuer) -> None:
    """Who knows `state` and port, and logs in as himself, is refused; the user's answer counts."""
    name = main_job.person(brokerctl, demo)
    process = brokerctl.start("login", name, "--no-browser")
    assert process.stderr
    found = test_login.URL.search(process.stderr.readline() + process.stderr.readline())
    assert found
    mallory = Elsewhere(account="mallory").end_of(found[1])
    assert as_somebody_else(mallory) == 403
    assert "can be closed" in Browser().open(found[1]).text
    code, stdout, stderr = ended(process)
    assert (code, "as alice" in stdout) == (0, True), stderr


@pytest.mark.slow(reason="a real browser starts")
def test_a_real_browser(brokerctl: Program, demo: DemoIssuer) -> None:
    """Debian's Chromium follows the start address to the issuer, and comes back."""
    chromium = require_tool("chromium")
    demo.change(auto_approve=True)
    words = (
        f"{chromium} --headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
        " --disable-background-networking --disable-component-update --disable-sync"
        f" --user-data-dir={brokerctl.home}/chromium --dump-dom %s"
    )
    try:
        name = main_job.person(brokerctl, demo)
        done = brokerctl("login", name, "--json", env={"BROWSER": words})
    finally:
        demo.change(auto_approve=False)
    assert done.returncode == 0, done.stderr
    assert "refused" not in done.stderr
    assert "second time" not in done.stderr


def on_terminal(brokerctl: Program, *more: str) -> pexpect.spawn[str]:
    """Log in on a terminal as a user who can't tell whose root's browser is; return it waiting."""
    require_root()
    for place, folders, files in os.walk(brokerctl.home):
        for each in (place, *(os.path.join(place, one) for one in (*folders, *files))):
            os.chown(each, NOBODY, NOBODY, follow_symlinks=False)
    words = [*SOMEBODY_ELSE[1:], PROGRAM, *more]
    return pexpect.spawn(
        SOMEBODY_ELSE[0],
        words,
        env=brokerctl.environment({"TERM": "xterm"}),
        cwd=brokerctl.home,
        encoding="utf-8",
        dimensions=(50, 1000),
        timeout=30,
    )


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [("y\r", 0, "logged in"), ("\r", 4, "not wanted"), ("\x03", 4, "the new grant is revoked")],
)
def test_the_first_login_in_doubt(
    brokerctl: Program, demo: DemoIssuer, typed: str, code: int, words: str
) -> None:
    """Where the peer's owner can't be told the person is asked; a no ends what had been issued."""
    name = main_job.person(brokerctl, demo)
    terminal = on_terminal(brokerctl, "login", name)
    terminal.expect(r"brokerctl:   (\S+)\r\n")
    Browser(account="mallory").open(matched(terminal))
    terminal.expect(r"logged in as mallory: keep it\? \(y/N\) ")
    terminal.send(typed)
    terminal.expect(words)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == code
    assert demo.counts()["paths"].get("/token/revocation", 0) == (0 if code == 0 else 2)
    grants = os.listdir(os.path.join(brokerctl.home, "state", "v1", "grants"))
    assert len(grants) == (code == 0)


def test_killed_at_the_question(brokerctl: Program, demo: DemoIssuer) -> None:
    """What was issued is queued before anybody is asked, and the next command ends it."""
    name = main_job.person(brokerctl, demo)
    terminal = on_terminal(brokerctl, "login", name)
    terminal.expect(r"brokerctl:   (\S+)\r\n")
    Browser(account="mallory").open(matched(terminal))
    terminal.expect("keep it")
    terminal.kill(signal.SIGKILL)
    terminal.wait()
    assert demo.counts()["paths"].get("/token/revocation", 0) == 0
    on_terminal(brokerctl, "status").expect(pexpect.EOF)
    assert demo.counts()["paths"]["/token/revocation"] == 2


def test_a_second_login_is_compared(brokerctl: Program, demo: DemoIssuer) -> None:
    """With a grant of the same person there, nobody is asked; another one's is refused."""
    name = main_job.person(brokerctl, demo)
    for account, typed, words in (
        ("alice", "y\r", "logged in to"),
        ("alice", "", "logged in to"),
        ("mallory", "", "logged in as somebody else before"),
        ("mallory", "n\r", "not wanted"),
    ):
        forced = ("--force",) if typed == "n\r" else ()
        terminal = on_terminal(brokerctl, "login", name, *forced)
        terminal.expect(r"brokerctl:   (\S+)\r\n")
        Browser(account=account).open(matched(terminal))
        if typed:
            terminal.expect("keep it")
            terminal.send(typed)
        terminal.expect(words)
        terminal.expect(pexpect.EOF)
        terminal.close()
