"""Colour is for terminals: who says no to it, and what is not one, gets plain text."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.program import PROGRAM, clean_env


def shown(home: str, *words: str, is_piped: bool = False, **env: str) -> str:
    """Return what both streams of a run show on a terminal of 80 columns, or in a pipe."""
    ours, theirs = os.pipe() if is_piped else os.openpty()
    environ = {**clean_env(home, COLUMNS="80", BROKERCTL_KEEPER="file"), **env}
    done = subprocess.Popen([PROGRAM, *words], env=environ, stdout=theirs, stderr=theirs)
    os.close(theirs)
    found = b""
    try:
        while piece := os.read(ours, 4096):
            found += piece
    except OSError:  # EIO: how a terminal says that nobody writes any more
        pass
    os.close(ours)
    done.wait(timeout=60)
    return found.decode()


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a home with one profile and a store."""
    folder = str(tmp_path_factory.mktemp("home"))
    os.mkdir(f"{folder}/tmp")
    with open(f"{folder}/config.toml", "x", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write('[profile.a]\nissuer = "https://a.example"\nclient_id = "c"\nflow = "code"\n')
    shown(folder, "status", is_piped=True)
    return folder


def test_a_terminal_gets_colour(home: str) -> None:
    """What went wrong is red, and the way out stands apart; words and order stay the same."""
    error = shown(home, "get", "b", TERM="xterm")
    assert "brokerctl: \x1b[1;31merror:\x1b[0m no profile 'b' (a)" in error
    assert "brokerctl: \x1b[36mhint:\x1b[0m run" in error
    assert "a: \x1b[33mno grant\x1b[0m (run 'brokerctl login a')" in shown(
        home, "status", TERM="xterm"
    )
    assert "\x1b[33mwarning:\x1b[0m 'a'" in shown(home, "doctor", "--offline", TERM="xterm")


@pytest.mark.parametrize(
    ("env", "is_piped"),
    [
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": ""}, False),
        ({}, False),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "xterm"}, True),
    ],
    ids=["no colour", "dumb", "empty", "unknown", "ci", "piped"],
)
def test_everything_else_gets_plain_text(home: str, env: dict[str, str], *, is_piped: bool) -> None:
    """Errors, status, doctor and help alike."""
    for words in (("get", "b"), ("status",), ("doctor", "--offline"), ("login", "--help")):
        text = shown(home, *words, is_piped=is_piped, **env)
        assert text
        assert "\x1b" not in text, words


def test_a_narrow_terminal_cuts_no_word(home: str) -> None:
    """Doctor's sentences are folded between words; a hint stays one line, to be copied."""
    lines = shown(home, "doctor", "--offline", TERM="xterm", NO_COLOR="1").splitlines()
    told = "warning: keys: not locked, kept by 'file'; whoever can read this user's files has"
    assert any(line and told.startswith(line) for line in lines)
    assert "    the key too" in lines or "    has the key too" in lines
    assert "  run 'brokerctl store rekey --to passphrase', or --to keyring where one is" in lines
    assert lines[-1].startswith("brokerctl: ")
