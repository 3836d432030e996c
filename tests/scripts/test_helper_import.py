"""Moving plain passwords into the store: shown first, kept first, and never in neither place."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import require_tool
from tests.scripts.test_helper_keep import KEEP, PROFILE, git, records

if TYPE_CHECKING:
    from tests.program import Program

PLAIN = """\
# mine
https://alice:hunter2@git.example.com
https://alice:older@git.example.com
https://bob:pw-of-bob@git.example.com/team%20a
https://carol:pw-of-carol@ours.example.com
nonsense
"""
LEFT = """\
# mine
https://alice:older@git.example.com
nonsense
"""
SECRETS = ("hunter2", "older", "pw-of-bob", "pw-of-carol")


# Whom git asks, and that it names the path of the one that has one.
ASKS = """\
[credential]
\thelper = {script}
[credential "https://git.example.com/team%20a"]
\tuseHttpPath = true
"""


@pytest.fixture
def home(brokerctl: Program) -> Program:
    """Return a program with a file of git's, and a link to it as dotfiles have them."""
    require_tool("git")
    brokerctl.env.update({"BROKERCTL_KEEPER": "file", "GIT_CONFIG_NOSYSTEM": "1"})
    brokerctl.config(KEEP + PROFILE)
    script = os.path.join(os.path.dirname(brokerctl.path), "git-credential-brokerctl")
    write(brokerctl, ".gitconfig", ASKS.format(script=script))
    write(brokerctl, "dotfiles-credentials", PLAIN)
    os.symlink("dotfiles-credentials", os.path.join(brokerctl.home, ".git-credentials"))
    return brokerctl


def write(program: Program, name: str, text: str) -> str:
    """Write a private file below the home and return its path."""
    path = os.path.join(program.home, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


def read(program: Program, name: str = ".git-credentials") -> str:
    """Return a file's text."""
    with open(os.path.join(program.home, name), encoding="utf-8") as file:
        return file.read()


def password(program: Program, user: str, place: str = "https git.example.com") -> str:
    """Return what git would be given for a user."""
    said = git(program, "get", f"username={user}\n", place).stdout
    return said.partition("password=")[2].strip()


def test_what_can_be_kept_is_moved(home: Program) -> None:
    """The first line of a user counts, as for git; the rest stays, and so does the link."""
    done = home("helper", "import", "git", "--yes")
    assert (done.returncode, done.stdout.count(" kept, and removed from ")) == (0, 1)
    assert "git: 3 kept" in done.stdout
    assert "keep and remove: https://alice@git.example.com" in done.stderr
    assert "leave: https://alice@git.example.com: another password stands before" in done.stderr
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    assert read(home) == LEFT
    assert os.path.islink(os.path.join(home.home, ".git-credentials"))
    assert os.stat(os.path.join(home.home, "dotfiles-credentials")).st_mode & 0o777 == 0o600
    assert password(home, "alice") == "hunter2"
    assert git(home, "get", "", "https git.example.com team a").stdout == ""
    asked = "protocol=https\nhost=git.example.com\npath=team a\n\n"
    assert "password=pw-of-bob\n" in home("helper", "git", "get", stdin=asked).stdout
    assert len(records(home, "credential.kept")) == 3
    assert not [secret for secret in SECRETS if secret in home("audit", "log", "--json").stdout]
    assert home("helper", "import", "git", "--yes").stdout == "git: nothing to keep\n"


def test_nobody_to_ask(home: Program) -> None:
    """Without a terminal and without --yes it is shown, and nothing is changed."""
    done = home("helper", "import", "git")
    assert (done.returncode, done.stdout) == (2, "")
    assert "say --yes" in done.stderr
    assert read(home) == PLAIN
    assert not records(home, "credential")


def test_nothing_is_moved_where_nothing_is_kept(home: Program) -> None:
    """What would not be given back is not taken."""
    home.config(PROFILE)
    done = home("helper", "import", "git", "--yes")
    assert done.returncode == 2
    assert "[helpers]" in done.stderr
    assert read(home) == PLAIN


def test_what_is_kept_already_is_not_lost_for_a_line(home: Program) -> None:
    """Another password that is kept stays, and so does the line."""
    git(home, "store", "username=alice\npassword=newer\n")
    done = home("helper", "import", "git", "--yes")
    assert "another password is kept for it" in done.stderr
    assert password(home, "alice") == "newer"
    assert "https://alice:hunter2@git.example.com\n" in read(home)


def test_the_other_file_and_an_empty_rest(home: Program) -> None:
    """`~/.config/git/credentials` too; a file of which nothing is left is removed."""
    other = write(home, ".config/git/credentials", "https://dave:pw-of-dave@git.example.com")
    assert home("helper", "import", "git", "--yes").returncode == 0
    assert not os.path.exists(other)
    assert password(home, "dave") == "pw-of-dave"


def test_who_is_answered_without_a_user_is_the_first_of_the_first_file(home: Program) -> None:
    """As git had it before."""
    write(home, ".config/git/credentials", "https://dave:pw-of-dave@git.example.com\n")
    assert home("helper", "import", "git", "--yes").returncode == 0
    assert "username=alice\n" in git(home, "get").stdout


@pytest.mark.parametrize("host", ["git.example.com", "GIT.example.com", "git.example.com:443"])
def test_of_two_files_the_first_one_s_password_is_kept(home: Program, host: str) -> None:
    """Git asks the first file first; the other's password, which differs, stays where it is."""
    line = f"https://alice:of-long-ago@{host}\n"
    other = write(home, ".config/git/credentials", line)
    done = home("helper", "import", "git", "--yes")
    assert "another password stands before it" in done.stderr
    assert password(home, "alice") == "hunter2"
    with open(other, encoding="utf-8") as file:
        assert file.read() == line


def test_git_s_lock_is_respected(home: Program) -> None:
    """While git writes the file nothing is cut out of it; what was kept stays."""
    lock = write(home, "dotfiles-credentials.lock", "")
    done = home("helper", "import", "git", "--yes")
    assert done.returncode == 2
    assert "is being changed" in done.stderr
    assert read(home) == PLAIN
    assert password(home, "alice") == "hunter2"
    assert os.path.exists(lock)
    os.unlink(lock)
    assert home("helper", "import", "git", "--yes").returncode == 0
    assert read(home) == LEFT


def test_netrc_is_copied_and_removed_only_when_told(home: Program) -> None:
    """Other programs read it as well."""
    text = "machine net.example.com login erin password pw-of-erin\nmachine x login y\n"
    write(home, ".netrc", text)
    assert home("helper", "import", "netrc", "--yes").stdout == "netrc: 1 kept\n"
    assert read(home, ".netrc") == text
    assert password(home, "erin", "https net.example.com") == "pw-of-erin"
    done = home("helper", "import", "netrc", "--remove", "--yes")
    assert "netrc: 1 kept, and removed from" in done.stdout
    assert read(home, ".netrc") == "machine x login y\n"


@pytest.mark.parametrize("tool", ["cargo", "npm"])
def test_what_is_not_in_this_version(home: Program, tool: str) -> None:
    """Its name is refused, and its files are not touched."""
    done = home("helper", "import", tool, "--yes")
    assert done.returncode == 2
    assert "not in this version" in done.stderr


@pytest.mark.slow("killed at each of its calls in turn")
@pytest.mark.parametrize("call", ["rename", "fsync", "renameat", "unlink"])
def test_killed_in_between(home: Program, call: str) -> None:
    """At any of these calls: whatever was in the file is in the file or in the store, or both."""
    strace = require_tool("strace")
    assert home("status").returncode == 0
    killed = 0
    for nth in range(1, 9):
        git(home, "erase")
        write(home, "dotfiles-credentials", PLAIN)
        lock = os.path.join(home.home, "dotfiles-credentials.lock")
        if os.path.exists(lock):
            os.unlink(lock)  # what the message says
        words = [strace, "-f", "-qq", "-o", os.path.join(home.home, "trace")]
        words += ["-e", f"inject={call}:signal=KILL:when={nth}", home.path]
        done = subprocess.run(
            [*words, "helper", "import", "git", "--yes"],
            env=home.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        text = read(home)
        assert "hunter2" in text or password(home, "alice") == "hunter2", nth
        assert "older" in text
        if done.returncode not in {-signal.SIGKILL, 128 + signal.SIGKILL}:
            break
        killed += 1
    assert killed
    assert home("store", "check").returncode == 0


def test_the_first_line_is_answered_first(home: Program) -> None:
    """As git's own helper does where no user is named."""
    lines = [f"https://{user}:pw-of-{user}@many.example.com\n" for user in ("zoe", "amy", "mia")]
    write(home, "dotfiles-credentials", "".join(lines))
    assert home("helper", "import", "git", "--yes").returncode == 0
    assert git(home, "get", "", "https many.example.com").stdout.startswith("username=zoe\n")


def test_the_first_line_is_answered_first_by_a_later_import_too(home: Program) -> None:
    """What was kept already is not older for it than a line behind it."""
    first, second = (f"https://{user}:pw-{user}@g.example.com\n" for user in ("alice", "bob"))
    write(home, ".git-credentials", first)
    assert home("helper", "import", "git", "--yes").returncode == 0
    write(home, ".git-credentials", first + second)
    assert home("helper", "import", "git", "--yes").returncode == 0
    assert git(home, "get", "", "https g.example.com").stdout.startswith("username=alice\n")


def test_the_other_file_has_another_password(home: Program) -> None:
    """What git would use, the line of the first file, is not lost for one of the second."""
    line = "https://alice:of-long-ago@GIT.example.com:443\n"
    write(home, ".config/git/credentials", line)
    assert "another password stands before it" in home("helper", "import", "git", "--yes").stderr
    assert password(home, "alice") == "hunter2"
    assert read(home, ".config/git/credentials") == line
