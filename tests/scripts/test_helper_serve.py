"""A helper as a process: one outcome each time, no wait, no prompt, no traceback."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.program import BIN

if TYPE_CHECKING:
    from tests.program import Program

TWO = """
[profile.work]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://git.example.com"]
username = "alice-work"

[profile.home]
issuer = "https://issuer.example"
client_id = "app2"
flow = "code"
hosts = ["https://git.example.com", "https://git.example.com/open"]
username = "alice-home"
"""
ASK = "protocol=https\nhost={host}\n{more}\n"


@pytest.fixture
def two(brokerctl: Program) -> Program:
    """Return a program with two accounts at one host, nobody logged in."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(TWO)
    assert brokerctl("status").returncode == 0
    return brokerctl


def ask(program: Program, host: str = "git.example.com", more: str = "") -> tuple[int, str, str]:
    """Ask the git helper."""
    return program("helper", "git", "get", stdin=ASK.format(host=host, more=more))


@pytest.mark.parametrize(
    "host",
    [
        "git.example.com.",
        "git.example.com.evil.example",
        "evil.example",
        "git.example.com:8443",
        "user@git.example.com",
        "git.example.com/x",
        "g\u0131t.example.com",
        "git.example.com%00",
        "git.example.com%2eevil.example",
        "[::1]",
        "0x7f.1",
        "sub.git.example.com",
        "git.example.com\\@evil.example",
        "git.example.com#",
        "git.example.com?",
        " git.example.com",
    ],
)
def test_another_spelling_is_not_ours(two: Program, host: str) -> None:
    """Security: silence for whatever is not the very host; git asks elsewhere."""
    assert ask(two, host) == (0, "", "")


@pytest.mark.parametrize("host", ["git.example.com", "GIT.example.com:443"])
def test_two_accounts_of_one_host_are_never_either(two: Program, host: str) -> None:
    """A tie names both and stops git; case and the default port are the same host."""
    code, stdout, stderr = ask(two, host)
    assert (code, stdout) == (0, "quit=1\n")
    assert "'home' and 'work'" in stderr


@pytest.mark.parametrize(
    ("more", "profile"),
    [
        ("username=alice-work\n", "work"),
        ("username=alice-home\n", "home"),
        ("path=open/shop.git\n", "home"),
    ],
)
def test_a_user_or_a_path_chooses(two: Program, more: str, profile: str) -> None:
    """Who has to log in is the one that was meant."""
    code, stdout, stderr = ask(two, more=more)
    assert (code, stdout) == (0, "quit=1\n")
    assert f"no grant for '{profile}'" in stderr
    assert f"run 'brokerctl login {profile}'" in stderr


def test_a_stranger_s_name_is_nobody_s(two: Program) -> None:
    """Security: another user of the host does not get alice's token, and a person hears why."""
    code, stdout, stderr = ask(two, more="username=bob\n")
    assert (code, stdout, stderr.count("\n")) == (0, "", 1)
    assert "'home' is for the user alice-home and 'work' is for the user alice-work" in stderr
    assert "the URL names bob: set username_match = 'any'" in stderr
    assert ask(two, "other.example.com", more="username=bob\n") == (0, "", "")


def test_whoever_the_url_names(two: Program) -> None:
    """Where a forge looks at the token alone the profile may answer for any name."""
    done = two("profile", "edit", "work", "--set", "username_match=any")
    assert done.returncode == 0, done.stderr
    assert "no grant for 'work'" in ask(two, more="username=bob\n")[2]
    assert "no grant for 'home'" in ask(two, more="username=alice-home\n")[2]
    two("profile", "edit", "work", "--set", "username_match=exact")
    assert ask(two, more="username=bob\n")[1] == ""


def test_plain_http_is_never_answered(two: Program) -> None:
    """Not even where the host is ours."""
    request = "protocol=http\nhost=git.example.com\n\n"
    assert two("helper", "git", "get", stdin=request) == (0, "", "")


def test_what_git_never_sends_is_said(two: Program) -> None:
    """On stderr, without what was sent, and the answer is nothing."""
    code, stdout, stderr = ask(two, more="host=evil.example\n")
    assert (code, stdout) == (0, "")
    assert stderr == "brokerctl: note: not a request of git: a key is repeated\n"


def test_an_end_without_an_empty_line_is_an_end(two: Program) -> None:
    """Git closes its pipe and may send no empty line."""
    request = "protocol=https\nhost=git.example.com\nusername=alice-work"
    assert two("helper", "git", "get", stdin=request)[1] == "quit=1\n"


def test_an_open_pipe_is_not_waited_for(two: Program) -> None:
    """After the empty line the answer comes, though the tool keeps the pipe open."""
    begun = time.monotonic()
    with two.start("helper", "git", "get") as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(ASK.format(host="evil.example", more=""))
        running.stdin.flush()
        assert running.wait(15) == 0
        assert time.monotonic() - begun < 15


def test_a_closed_stdin_is_an_empty_request(two: Program) -> None:
    """Nothing is asked for, so nothing is answered."""
    words = ["sh", "-c", 'exec "$0" helper git get <&-', two.path]
    env = two.environment()
    done = subprocess.run(words, env=env, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"Traceback" not in done.stderr


def test_a_helper_that_there_is_not(two: Program) -> None:
    """Its name is refused like that of any command."""
    code, stdout, stderr = two("helper", "npm", "--profile", "p")
    assert (code, stdout) == (2, "")
    assert "no such command 'npm'" in stderr


def test_a_hostile_working_folder(two: Program) -> None:
    """Git starts us in whatever was cloned: an untrusted project file changes nothing."""
    folder = os.path.join(two.home, "clone")
    os.mkdir(folder)
    with open(os.path.join(folder, ".brokerctl.toml"), "w", encoding="utf-8") as file:
        file.write('[profile.work]\nscopes = ["admin"]\n')
    request = ASK.format(host="evil.example", more="")
    assert two("helper", "git", "get", stdin=request, cwd=folder) == (0, "", "")


WAITING = """
import sys
from brokerctl.helpers import MalformedError, tool_streams
try:
    print(tool_streams._read_request(sys.argv[1], 0.3))
except MalformedError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("how", "sent", "read"),
    [
        ("block", b"", "it does not end\n"),
        ("block", b"a=b\n", "it does not end\n"),
        ("block", b"a=b\n\n", "b'a=b\\n\\n'\n"),
        ("all", b"a=b\n\n", "it does not end\n"),
        ("nothing", b"", "b''\n"),
    ],
)
@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_request_that_does_not_end(
    how: str, sent: bytes, read: str, *, is_blocking: bool
) -> None:
    """Whoever keeps the pipe open is not waited for longer than the deadline."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, is_blocking)
    os.write(theirs, sent)
    begun = time.monotonic()
    words = [os.path.join(BIN, "python"), "-c", WAITING, how]
    done = subprocess.run(words, stdin=ours, capture_output=True, text=True, timeout=20, check=True)
    os.close(ours)
    os.close(theirs)
    assert done.stdout == read
    assert time.monotonic() - begun < 10


ALARMED = """
import signal, sys
from brokerctl.helpers import tool_streams
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 500, 9)
tool_streams._read_request("all")
left, again = signal.getitimer(signal.ITIMER_REAL)
is_blocked = signal.SIGALRM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
print(400 < left <= 500, again, signal.getsignal(signal.SIGALRM).name, is_blocked)
"""


def test_the_callers_alarm_is_the_callers_again() -> None:
    """What bounds the reading of a request leaves timer, handler and mask as it found them."""
    words = [os.path.join(BIN, "python"), "-c", ALARMED]
    done = subprocess.run(words, input=b"", capture_output=True, timeout=20, check=True)
    assert done.stdout == b"True 9.0 SIG_IGN True\n"


def test_a_git_that_checks_no_certificate_gets_no_token(two: Program) -> None:
    """Security: whoever is in between would have it; the profile can say that it may."""
    asked = ASK.format(host="git.example.com", more="username=alice-work\n")
    insecure = {"GIT_SSL_NO_VERIFY": "1"}
    done = two("helper", "git", "get", stdin=asked, env=insecure)
    assert done.stdout == "quit=1\n"
    assert "certificate" in done.stderr
    assert '"token.denied"' in two("audit", "log", "--json").stdout
    two.config(
        TWO.replace('username = "alice-work"', 'username = "alice-work"\ninsecure_ok = true')
    )
    done = two("helper", "git", "get", stdin=asked, env=insecure)
    assert "no grant for 'work'" in done.stderr
