"""What somebody meets who has never used brokerctl: help, slips of the finger, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.program import PROGRAM

if TYPE_CHECKING:
    from tests.program import Program


@pytest.mark.parametrize("words", [(), ("audit",), ("store",), ("profile",)])
def test_a_bare_group_shows_its_help(brokerctl: Program, words: tuple[str, ...]) -> None:
    """Without a command the help is shown as it is, on stderr, and scripts see a failure."""
    done = brokerctl(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: brokerctl")
    assert "\nCommands:\n" in done.stderr
    assert "\\x0a" not in done.stderr


def test_the_list_of_commands_is_not_cut(brokerctl: Program) -> None:
    """Each command's line in the help is a whole sentence."""
    assert "..." not in brokerctl("--help").stdout.partition("\nCommands:\n")[2]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("loign",), "no such command 'loign'", "did you mean 'login'? run 'brokerctl --help'"),
        (
            ("audit", "lgo"),
            "no such command 'lgo'",
            "did you mean 'log'? run 'brokerctl audit --help'",
        ),
        (
            ("get", "--mni-ttl", "5m"),
            "no such option: --mni-ttl",
            "did you mean '--min-ttl'? run 'brokerctl get --help'",
        ),
        (("store", "backup"), "missing argument 'FILE'", "run 'brokerctl store backup --help'"),
    ],
)
def test_a_slip_is_two_lines(
    brokerctl: Program, words: tuple[str, ...], message: str, hint: str
) -> None:
    """A slip is named in one line, and the next says which command helps."""
    done = brokerctl(*words)
    assert done.returncode == 2
    assert done.stderr == f"brokerctl: error: {message}\nbrokerctl: hint: {hint}\n"


@pytest.mark.parametrize(
    ("flow", "command"), [("code", "login"), ("device", "login"), ("client_credentials", "get")]
)
def test_a_new_profile_says_what_is_next(brokerctl: Program, flow: str, command: str) -> None:
    """Who added a profile reads which command uses it."""
    options = ("--issuer", "https://i.example", "--client-id", "c", "--flow", flow)
    done = brokerctl("profile", "add", "work", *options, "--client-secret", "env:X")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f"brokerctl: next: run 'brokerctl {command} work'\n")


def test_what_is_asked_fits_a_terminal_of_80_columns(brokerctl: Program) -> None:
    """No line of a preset's advice is broken by a usual terminal."""
    for preset in ("github", "gitlab", "generic"):
        child = pexpect.spawn(
            PROGRAM,
            ["profile", "add", "x", "--preset", preset],
            env=brokerctl.environment({"TERM": "xterm"}),
            encoding="utf-8",
            dimensions=(40, 80),
            timeout=20,
        )
        child.expect("(client id|issuer URL): ")
        child.close(force=True)
        assert max(map(len, str(child.before).splitlines())) < 80, preset


@pytest.mark.parametrize("columns", [80, 120])
def test_what_is_held_is_whole_on_a_terminal(brokerctl: Program, columns: int) -> None:
    """No time and no profile is cut in half, on a narrow terminal or a wide one."""
    name = "a-profile-with-a-long-name"
    brokerctl("profile", "add", name, "--issuer", "https://i.example", "--client-id", "c")
    assert brokerctl("get", name).returncode == 3  # what is refused is recorded
    child = pexpect.spawn(
        PROGRAM,
        ["audit", "log"],
        env=brokerctl.environment({"TERM": "xterm"}),
        encoding="utf-8",
        dimensions=(40, columns),
        timeout=20,
    )
    child.expect(pexpect.EOF)
    child.close()
    shown = str(child.before)
    assert "…" not in shown
    assert name in shown
    assert ("fingerprint" in shown) is (columns == 120)


@pytest.mark.parametrize(
    ("words", "text", "hint"),
    [
        (("login", "ftp://x"), "", "run 'brokerctl login --help'"),
        (("signals", "poll"), "", "run 'brokerctl --help'"),
        (("store", "restore", "nope"), "", "name another file"),
        (
            ("get", "x"),
            '[profile.x]\nissuer = "https://i.example"\nclient_id = "c"\nflow = "cod"\n',
            "run 'brokerctl profile schema' for every key and what it takes",
        ),
    ],
)
def test_every_error_has_a_second_line(
    brokerctl: Program, words: tuple[str, ...], text: str, hint: str
) -> None:
    """An error without a hint of its own gets the usual one of its kind, and no third line."""
    brokerctl.config(text)
    done = brokerctl(*words, env={"BROKERCTL_KEEPER": "file", "BROKERCTL_PASSPHRASE": "x"})
    first, second = done.stderr.splitlines()
    assert first.startswith("brokerctl: error: ")
    assert second == f"brokerctl: hint: {hint}"
