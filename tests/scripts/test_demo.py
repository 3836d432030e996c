"""`brokerctl demo` tells a true story, in any surroundings, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Self

import pexpect
import pytest

from brokerctl.demo import story
from tests.program import PROGRAM

if TYPE_CHECKING:
    from tests.program import Program


def left_behind(program: Program) -> list[str]:
    """Return what lies in the program's temporary folder, and processes of a demo in it."""
    folder = os.path.join(program.home, "tmp")
    found = os.listdir(folder)
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if f"TMPDIR={folder}/".encode() in file.read():
                found.append(pid)
    return found


@pytest.mark.slow(reason="tells the whole story")
@pytest.mark.parametrize("ci", [False, True])
def test_story(brokerctl: Program, *, ci: bool) -> None:
    """It ends 0 without a terminal, in CI too, and whatever the caller's own settings are."""
    env = {
        "CI": "1" if ci else None,
        "BROKERCTL_HOME": "/nonexistent",
        "BROKERCTL_KEY": "broken",
        "HTTPS_PROXY": "http://192.0.2.1:1",
        "HTTP_PROXY": "http://192.0.2.1:1",
        "BROWSER": "/bin/false",
    }
    done = brokerctl("demo", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "NOT TRUE" not in done.stdout
    assert done.stdout.count("\nok: ") == 13
    assert "{'refresh_token': 1}" in done.stdout
    assert left_behind(brokerctl) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped(brokerctl: Program, number: int) -> None:
    """Stopped in the middle, it takes processes and files along."""
    process = brokerctl.start("demo")
    assert process.stdout
    for line in process.stdout:
        if line.startswith("$ brokerctl get"):
            break
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode not in {0, None}
    assert left_behind(brokerctl) == []


def test_nobody_listens(brokerctl: Program) -> None:
    """`brokerctl demo | head` ends it without a word, and without remains."""
    with brokerctl.start("demo") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr.read() == ""
    assert left_behind(brokerctl) == []


def test_stopped_on_a_terminal(brokerctl: Program) -> None:
    """Ctrl-C, which every process of the terminal gets, leaves nothing behind either."""
    terminal = pexpect.spawn(
        PROGRAM, ["demo"], env=brokerctl.environment(), cwd=brokerctl.home, timeout=60
    )
    terminal.expect("for i in ")
    time.sleep(0.3)
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, terminal.signalstatus) != (0, None)
    assert left_behind(brokerctl) == []


def test_false_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """One claim that is not true is said, and is the exit code."""

    class Liar:
        issuer = "http://127.0.0.1:1"

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def lie(self: story.Story) -> None:
        self.claim("the moon is a cheese", is_so=False)

    monkeypatch.setattr(story, "Stage", Liar)
    monkeypatch.setattr(story.Story, "tell", lie)
    assert story.tell() == 1


def test_serve(brokerctl: Program) -> None:
    """--serve prints one line, serves the discovery document, and ends with SIGTERM."""
    process = brokerctl.start("demo", "--serve", "--auto-approve")
    assert process.stdout
    said = json.loads(process.stdout.readline())
    url = f"{said['issuer']}/.well-known/openid-configuration"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert json.load(answer)["issuer"] == said["issuer"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_serve_elsewhere(brokerctl: Program) -> None:
    """An address that others can reach is refused."""
    done = brokerctl("demo", "--serve", "--host", "0.0.0.0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a loopback address" in done.stderr


def test_visitor_stays_on_loopback() -> None:
    """The scripted browser goes nowhere else."""
    words = [sys.executable, "-I", "-m", "brokerctl.demo.visitor", "https://example.com"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "loopback alone" in done.stderr
