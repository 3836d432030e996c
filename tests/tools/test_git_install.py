"""`helper install git` in a scratch home, used by the real git, and taken out again."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.tools.room import hosts, long_but, read
from tests.tools.test_git import server

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.git_server import GitServer

__all__ = ["server"]  # the fixtures

CONFIGS = {
    "none": None,
    "empty": b"",
    "usual": b"[user]\n\tname = A\n\temail = a@example.com\n# mine\n[alias]\n\tst = status\n",
    "without an end": b"[core]\r\n\teditor = vi",
    "odd bytes": b"# caf\xe9\n[credential]\n\thelper = cache\n",
}
GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


def path_of(program: Program) -> str:
    """Return where git's own configuration is."""
    return os.path.join(program.home, ".gitconfig")


def write(path: str, data: bytes | None) -> None:
    """Write a file, if there is to be one."""
    if data is not None:
        with open(path, "wb") as file:
            file.write(data)


@pytest.mark.parametrize("name", long_but(CONFIGS, "usual"))
def test_installed_used_and_gone(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer, name: str
) -> None:
    """The real git finds it, and afterwards the file is byte for byte as before."""
    before, path = CONFIGS[name], path_of(brokerctl)
    write(path, before)
    brokerctl.env.update({"BROKERCTL_KEEPER": "file", "GIT_SSL_CAINFO": server.ca_file, **GIT})
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    done = brokerctl("helper", "install", "git", "--yes")
    assert (done.returncode, done.stdout) == (0, f"git: installed, {path}\n")
    assert "+[credential" in done.stderr
    assert (read(path) or b"").startswith(before or b"")
    assert brokerctl("helper", "install", "git").stdout == f"git: installed already, {path}\n"
    assert f"git: installed, {path}" in brokerctl("helper", "list").stdout
    words = ["git", "clone", "-q", server.make("shop.git"), "work"]
    cloned = subprocess.run(
        words, env=brokerctl.environment(), cwd=brokerctl.home, capture_output=True, check=False
    )
    assert cloned.returncode == 0, cloned.stderr
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert brokerctl("helper", "uninstall", "git", "--yes").returncode == 0
    assert read(path) == before
    assert not [one for one in os.listdir(brokerctl.home) if "before-brokerctl" in one]
    again = brokerctl("helper", "uninstall", "git")
    assert again.stdout == f"git: uninstalled already, {path}\n"


@pytest.fixture
def offline(brokerctl: Program) -> Program:
    """Return a program with one profile that has hosts."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(
        '[profile.forge]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        'hosts = ["https://git.example.com", "https://git.example.com/team"]\n'
    )
    return brokerctl


def test_without_a_terminal_it_wants_yes(offline: Program) -> None:
    """The change is shown, and nothing is changed."""
    done = offline("helper", "install", "git")
    assert (done.returncode, done.stdout) == (2, "")
    assert "say --yes" in done.stderr
    assert read(path_of(offline)) is None


def test_a_person_s_own_lines_stay(offline: Program) -> None:
    """What was written since, above and below, is there after `uninstall`; the backup stays."""
    path = path_of(offline)
    write(path, b"[user]\n\tname = A\n")
    offline("helper", "install", "git", "--yes")
    write(path, b"# first\n" + (read(path) or b"") + b"[alias]\n\tst = status\n")
    assert offline("helper", "uninstall", "git", "--yes").returncode == 0
    assert read(path) == b"# first\n[user]\n\tname = A\n[alias]\n\tst = status\n"
    assert read(f"{path}.before-brokerctl") == b"[user]\n\tname = A\n"


def test_a_link_stays_a_link(offline: Program) -> None:
    """Dotfiles are often links into a repository; mode and link stay."""
    target = os.path.join(offline.home, "dotfiles")
    write(target, b"[user]\n")
    os.chmod(target, 0o640)
    os.symlink(target, path_of(offline))
    assert offline("helper", "install", "git", "--yes").returncode == 0
    assert os.path.islink(path_of(offline))
    assert b"git.example.com" in (read(target) or b"")
    assert os.stat(target).st_mode & 0o777 == 0o640


def test_a_path_makes_git_say_its_path(offline: Program) -> None:
    """Git reads the section as we mean it, for the host and for the path below it."""
    offline("helper", "install", "git", "--yes")
    words = ["git", "config", "--get-urlmatch", "credential.usehttppath"]
    for url, said in (
        ("https://git.example.com/team/x", "true\n"),
        ("https://git.example.com/", ""),
    ):
        done = subprocess.run(
            [*words, url],
            env={**offline.environment(), **GIT},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == said


def test_a_path_is_no_more_than_a_path(offline: Program) -> None:
    """Security: no host of a profile puts a line of its own into git's configuration."""
    offline.config(
        '[profile.odd]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        "hosts = ['https://git.example.com/x\"]helper=!touch${IFS}owned;y']\n"
    )
    assert offline("helper", "install", "git", "--yes").returncode == 0
    done = subprocess.run(
        ["git", "config", "--global", "--get-regexp", r"\.helper$"],
        env={**offline.environment(), **GIT},
        capture_output=True,
        text=True,
        check=False,
    )
    values = [line.partition(".helper")[2].strip() for line in done.stdout.splitlines()]
    assert (done.returncode, values[0]) == (0, "")
    assert [value.rpartition("/")[2] for value in values[1:]] == ["git-credential-brokerctl"]


def test_git_s_other_place(offline: Program) -> None:
    """Where ~/.config/git/config is the only one, git writes there, and so do we."""
    other = os.path.join(offline.home, ".config", "git", "config")
    os.makedirs(os.path.dirname(other))
    write(other, b"[user]\n")
    offline("helper", "install", "git", "--yes")
    assert b"git.example.com" in (read(other) or b"")
    assert read(path_of(offline)) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("install", "npm", "--yes"), "not in this version"),
        (("install", "git", "-p", "nope", "--yes"), "no profile 'nope'"),
        (("uninstall", "npm"), "not in this version"),
    ],
)
def test_wrong_words(offline: Program, words: tuple[str, ...], said: str) -> None:
    """Refused, and nothing is made."""
    done = offline("helper", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert read(path_of(offline)) is None


def test_git_s_own_lock_is_held(offline: Program) -> None:
    """Git and we change one file, and no line of either is lost: who comes second is told."""
    path = path_of(offline)
    write(path, b"[user]\n")
    write(f"{path}.lock", b"")
    done = offline("helper", "install", "git", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is being changed by its tool" in done.stderr
    assert read(path) == b"[user]\n"
    os.unlink(f"{path}.lock")
    assert offline("helper", "install", "git", "--yes").returncode == 0
    assert not os.path.exists(f"{path}.lock")


def test_no_line_of_git_s_is_lost(offline: Program) -> None:
    """Git adds lines all the while; each that it said was written is there at the end."""
    words = ["git", "config", "--global", "--add"]
    env = {**offline.environment(), **GIT}
    written = 0
    for turn in range(6):
        with offline.start("helper", "un" * (turn % 2) + "install", "git", "--yes") as ours:
            for _ in range(12):
                done = subprocess.run([*words, "x.y", str(written)], env=env, check=False)
                written += done.returncode == 0
            ours.communicate(timeout=60)
    listed = subprocess.run(
        ["git", "config", "--global", "--get-all", "x.y"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(line) for line in listed.stdout.splitlines()] == [*range(written)]
