"""What git has kept for its other protocols, with git's own store as the judge of each answer."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import require_tool

if TYPE_CHECKING:
    from tests.program import Program

KEEP = '[helpers]\nkeep = ["git"]\n'
PASSWORD = "pw of alice"
# What git itself asks for: send-email, imap-send, http.sslCert and http.proxy; and a web server.
PLACES = (
    "protocol=smtp\nhost=mail.example.com:587\nusername=a@example.com\n",
    "protocol=smtp\nhost=mail.example.com\nusername=alice\n",
    "protocol=imap\nhost=mail.example.com\nusername=alice\n",
    "protocol=imaps\nhost=mail.example.com\nusername=alice\n",
    "protocol=cert\nhost=\nusername=\npath=certs/me and you.pem\n",
    "protocol=socks5h\nhost=proxy.example.com:1080\nusername=alice\n",
    "protocol=socks5\nhost=127.0.0.1:1080\nusername=alice\n",
    "protocol=ftp\nhost=ftp.example.com\nusername=alice\n",
    "protocol=https\nhost=mail.example.com\nusername=alice\n",
    "protocol=http\nhost=proxy.example.com:3128\nusername=alice\n",
)
# git's store writes this one so that it does not find it again.
ABSOLUTE = "protocol=cert\nhost=\nusername=\npath=/home/alice/me.pem\n"


class Git:
    """Real git in a home of its own, with one credential helper."""

    def __init__(self, program: Program, name: str, helper: str) -> None:
        self.git = require_tool("git")
        self.program = program
        self.home = os.path.join(program.home, name)
        os.makedirs(self.home, exist_ok=True)
        with open(os.path.join(self.home, ".gitconfig"), "w", encoding="utf-8") as file:
            file.write(f"[credential]\n\thelper = {helper}\n")

    def __call__(self, word: str, lines: str) -> str:
        """Run `git credential WORD` and return what it prints; nothing where it would ask."""
        variables = {"HOME": self.home, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(
            [self.git, "credential", word],
            input=f"{lines}\n",
            env=self.program.environment(variables),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.program.keep(("git", "credential", word), done.stdout, done.stderr)
        assert word == "fill" or (done.returncode, done.stderr) == (0, "")
        return done.stdout if done.returncode == 0 else ""


@pytest.fixture
def two(brokerctl: Program) -> tuple[Git, Git]:
    """Return git with its own store, and git with brokerctl that keeps."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP)
    ours = os.path.join(os.path.dirname(brokerctl.path), "git-credential-brokerctl")
    return Git(brokerctl, "judge", "store"), Git(brokerctl, "ours", ours)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: " ".join(place.split()[:2]))
def test_it_is_answered_as_by_git_s_own_store(two: tuple[Git, Git], place: str) -> None:
    """Kept, filled and rejected alike, with the user and without; nothing of it goes elsewhere."""
    judge, ours = two
    unnamed = "".join(f"{line}\n" for line in place.splitlines() if not line.startswith("username"))
    for git in two:
        git("approve", f"{place}password={PASSWORD}\n")
    for asked in (place, unnamed):
        answer = judge("fill", asked)
        assert f"password={PASSWORD}\n" in answer
        assert ours("fill", asked) == answer
    for other in {*PLACES, ABSOLUTE} - {place}:
        if other.split()[:2] != place.split()[:2]:
            assert PASSWORD not in ours.program("helper", "git", "get", stdin=f"{other}\n").stdout
    for git in two:
        git("reject", f"{place}password={PASSWORD}\n")
        assert git("fill", place) == ""


def test_a_certificate_of_an_absolute_path(two: tuple[Git, Git]) -> None:
    """The path that git asks for is the one that it was kept for; another spelling is another."""
    _, ours = two
    ours("approve", f"{ABSOLUTE}password={PASSWORD}\n")
    assert f"password={PASSWORD}\n" in ours("fill", ABSOLUTE)
    for path in ("home/alice/me.pem", "//home/alice/me.pem", "/home/alice/me.pem/", "/home/alice"):
        assert ours("fill", ABSOLUTE.replace("/home/alice/me.pem", path)) == ""
    listed = ours.program("helper", "kept", "git").stdout
    assert "git: cert:////home/alice/me.pem, kept since" in listed
