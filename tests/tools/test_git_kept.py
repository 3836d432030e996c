"""What git has kept for its other protocols, with git's own store as the judge of each answer."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import require_tool
from tests.tools.room import long_but

if TYPE_CHECKING:
    from tests.program import Program, Result

KEEP = '[helpers]\nkeep = ["git"]\n'
PASSWORD = "pw of alice"
# What git itself asks for: send-email, imap-send, http.sslCert and http.proxy; and a web server.
PLACES = (
    "protocol=smtp\nhost=mail.example.com:587\nusername=a@example.com\n",
    "protocol=smtp\nhost=mail.example.com\nusername=a@example.com\n",
    "protocol=imap\nhost=mail.example.com\nusername=alice\n",
    "protocol=imaps\nhost=mail.example.com\nusername=alice\n",
    "protocol=cert\nhost=\nusername=\npath=certs/me and you.pem\n",
    "protocol=socks5h\nhost=proxy.example.com:1080\nusername=alice\n",
    "protocol=socks5\nhost=127.0.0.1:1080\nusername=alice\n",
    "protocol=socks5\nhost=127.0.0.1:1081\nusername=alice\n",
    "protocol=ftp\nhost=ftp.example.com\nusername=alice\n",
    "protocol=https\nhost=mail.example.com\nusername=alice\n",
    "protocol=http\nhost=proxy.example.com:3128\nusername=alice\n",
)
# One for each way in which git's questions differ; the rest are among the long tests.
EACH = (0, 2, 4, 5, 9)
# git's store writes this one so that it does not find it again.
ABSOLUTE = "protocol=cert\nhost=\nusername=\npath=/home/alice/me.pem\n"


class Git:
    """Real git in a home of its own, with one credential helper."""

    def __init__(self, program: Program, name: str, *helpers: str) -> None:
        self.git = require_tool("git")
        self.program = program
        self.home = os.path.join(program.home, name)
        os.makedirs(self.home, exist_ok=True)
        lines = "".join(f"\thelper = {helper}\n" for helper in helpers)
        self.write(".gitconfig", f"[credential]\n{lines}")

    def write(self, name: str, text: str, mode: int = 0o600) -> str:
        """Write a file of the home and return its path."""
        path = os.path.join(self.home, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def read(self, name: str = ".git-credentials") -> str:
        """Return a file of the home, empty where it is none."""
        try:
            with open(os.path.join(self.home, name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def ask(self, *words: str) -> Result:
        """Run brokerctl in git's home."""
        return self.program(*words, env={"HOME": self.home, "GIT_CONFIG_NOSYSTEM": "1"})

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
    return Git(brokerctl, "judge", "store"), Git(brokerctl, "ours", script(brokerctl))


def script(program: Program) -> str:
    """Return the helper that git runs."""
    return os.path.join(os.path.dirname(program.path), "git-credential-brokerctl")


@pytest.fixture
def alone(brokerctl: Program) -> Program:
    """Return a program that keeps what git stores."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP)
    return brokerctl


@pytest.mark.parametrize(
    "place",
    long_but(PLACES, *(PLACES[at] for at in EACH)),
    ids=lambda place: " ".join(place.split()[:2]),
)
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


# A file of git's, and what git asks for each line of it.
FILE = """\
https://alice:pw1@git.example.com
https://bob:pw2@git.example.com/team/shop
http://carol:pw3@10.0.0.1%3a8080
smtp://dave:pw4@mail.example.com%3a587
https://erin:pw5@other.example.com/x
"""
ASKED = (
    "protocol=https\nhost=git.example.com\nusername=alice\n",
    "protocol=https\nhost=git.example.com\npath=team/shop\nusername=bob\n",
    "protocol=http\nhost=10.0.0.1:8080\n",
    "protocol=smtp\nhost=mail.example.com:587\n",
    "protocol=https\nhost=other.example.com\npath=x\n",
)
HTTP_PATH = '[credential "https://git.example.com"]\n\tuseHttpPath = true\n'
MORE = ("", HTTP_PATH, "[credential]\n\tuseHttpPath = true\n")
HELPERS = ("store", "ours", "ours store", "store ours", "ours none")


def answers(git: Git) -> list[str]:
    """Return what git is answered with for each line of the file, path or no path."""
    return [git("fill", asked).partition("password=")[2].strip() for asked in ASKED]


@pytest.mark.parametrize(
    ("helpers", "more"),
    long_but(
        [(helpers, more) for helpers in HELPERS for more in MORE],
        *(("store", ""), ("ours", ""), ("ours", HTTP_PATH)),
        *(("ours store", MORE[2]), ("store ours", HTTP_PATH), ("ours none", "")),
    ),
)
def test_whatever_import_moves_git_still_finds(alone: Program, helpers: str, more: str) -> None:
    """Each line is answered as before: moved if git asks brokerctl and names the path, or left."""
    asked = [script(alone) if one == "ours" else one.replace("none", "") for one in helpers.split()]
    git = Git(alone, "home", *asked)
    git.write(".gitconfig", git.read(".gitconfig") + more)
    git.write(".git-credentials", FILE)
    before, done = answers(git), git.ask("helper", "import", "git", "--yes")
    assert done.returncode == 0, done.stderr
    left, after = git.read().splitlines(), answers(git)
    moved = [at for at, line in enumerate(FILE.splitlines()) if line not in left]
    is_asked = "ours" in helpers and "none" not in helpers
    paths = {"": 0, HTTP_PATH: 1}.get(more, 2)
    assert len(moved) == (3 + paths if is_asked else 0)
    assert [old for old, new in zip(before, after, strict=True) if old not in {"", new}] == []
    assert [after[at] for at in moved] == [f"pw{at + 1}" for at in moved]
    assert ("git does not ask brokerctl for it" in done.stderr) is not is_asked
    assert ("git does not name its path" in done.stderr) is (is_asked and paths < 2)


def test_what_git_s_own_store_would_write_again_is_said(alone: Program) -> None:
    """With it in the list the next use writes the password in plain text; its command ends that."""
    git = Git(alone, "home", "store", script(alone))
    git.write(".git-credentials", FILE.splitlines()[0] + "\n")
    done = git.ask("helper", "import", "git", "--yes")
    assert git.read() == ""
    [line] = [line for line in done.stderr.splitlines() if "plain text" in line]
    command = line.partition("plain text: ")[2]
    git("approve", git("fill", ASKED[0]))
    assert "pw1" in git.read()
    assert git.ask("helper", "import", "git", "--yes").returncode == 0
    variables = git.program.environment({"HOME": git.home, "GIT_CONFIG_NOSYSTEM": "1"})
    subprocess.run(["/bin/sh", "-c", command], env=variables, check=True, cwd=git.home)
    git("approve", git("fill", ASKED[0]))
    assert (git.read(), "pw1" in git("fill", ASKED[0])) == ("", True)
    assert "plain text" not in git.ask("helper", "import", "git", "--yes").stderr


# What a person typed, and what a forge gave: whatever is in it, git's own store reads it back.
ODD = ("a b", "p:w/@%", "\u00e9\u4e2d", "'\"$`\\", "x" * 400)
LEFT = "https://zoe:pw-of-zoe@git.example.com\nnonsense\n"


def test_export_puts_all_back_where_git_finds_it(alone: Program) -> None:
    """What git got from brokerctl it gets from its own store: its file is private, ours empty."""
    git = Git(alone, "home", script(alone))
    rows = [f"{place}password={PASSWORD}\n" for place in PLACES]
    rows += [
        f"protocol=https\nhost=odd.example.com\nusername={at}{odd}\npassword={odd}\n"
        for at, odd in enumerate(ODD)
    ]
    for row in rows:
        git("approve", row)
    asked = [row.rpartition("password=")[0] for row in rows]
    before = [git("fill", one) for one in asked]
    assert all(before)
    os.chmod(git.write(".git-credentials", LEFT), 0o644)
    done = git.ask("helper", "export", "git", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"git: {len(rows)} put into {git.home}/.git-credentials, and kept here" in done.stdout
    assert "git config --global --add credential.helper store" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert git.read().endswith(LEFT)
    assert os.stat(os.path.join(git.home, ".git-credentials")).st_mode & 0o777 == 0o600
    assert git.ask("helper", "kept").stdout == "nothing is kept for other tools\n"
    judge = Git(alone, "home", "store")
    assert [judge("fill", one) for one in asked] == before
    assert "username=zoe" in judge("fill", "protocol=https\nhost=git.example.com\n")


def test_export_leaves_what_git_s_file_can_t_give_back(alone: Program) -> None:
    """Another password in the file, an end, a refresh token, an absolute path: 9, and all kept."""
    git = Git(alone, "home", script(alone), "store")
    git("approve", f"{ABSOLUTE}password={PASSWORD}\n")
    place = "protocol=https\nhost={}\nusername=alice\npassword=pw\n"
    git.program("helper", "git", "store", stdin=place.format("a.example") + "\n")
    more = "password_expiry_utc=4000000000\noauth_refresh_token=r\n\n"
    git.program("helper", "git", "store", stdin=place.format("b.example") + more)
    text = "https://alice:another@A.example%3a443\n"
    git.write(".git-credentials", text)
    done = git.ask("helper", "export", "git", "--yes")
    assert (done.returncode, done.stdout, git.read()) == (9, "", text)
    assert "leave: git: alice at https://a.example: another password stands there" in done.stderr
    assert "leave: git: alice at https://b.example: it has an end or a refresh" in done.stderr
    assert "leave: git: cert:////home/alice/me.pem: git's own store does not find" in done.stderr
    assert git.ask("helper", "kept").stdout.count("\n") == 3


def test_import_and_export_leave_the_file_as_it_was(alone: Program) -> None:
    """There and back: the same lines for git, and what was there beside them."""
    git = Git(alone, "home", script(alone), "store")
    git.write(".gitconfig", git.read(".gitconfig") + "[credential]\n\tuseHttpPath = true\n")
    git.write(".git-credentials", FILE + "nonsense\n")
    before = answers(git)
    for _ in range(2):
        assert git.ask("helper", "import", "git", "--yes").returncode == 0
        assert git.read() == "nonsense\n"
        assert answers(git) == before
        assert git.ask("helper", "export", "git", "--yes").returncode == 0
        assert answers(git) == before
        assert sorted(git.read().splitlines()) == sorted([*FILE.splitlines(), "nonsense"])
