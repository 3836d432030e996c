"""`brokerctl audit` as a user meets it: the real program, real files, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import PROGRAM

if TYPE_CHECKING:
    from tests.program import Program


@pytest.fixture
def program(brokerctl: Program) -> Program:
    """Return the program with a key file and a log of one record."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    assert brokerctl("audit", "repair").returncode == 0
    return brokerctl


def log_file(program: Program) -> str:
    """Return the path of the program's log."""
    return os.path.join(program.home, "state", "v1", "audit", "log")


def edit(program: Program) -> None:
    """Change one byte of the log."""
    with open(log_file(program), "r+b") as file:
        data = file.read()
        file.seek(data.index(b"log.checked"))
        file.write(b"L")


def test_a_whole_log_verifies(program: Program) -> None:
    """Exit code 0 and one line; the same with every field read."""
    done = program("audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 record in 1 file, the last is 1: the chain is whole\n"
    assert program("audit", "verify", "--parse").stdout == done.stdout
    answer = json.loads(program("audit", "verify", "--json").stdout)
    assert (answer["schema"], answer["whole"], answer["records"]) == (1, True, 1)


def test_an_edited_log_ends_with_7_until_it_is_accepted(program: Program) -> None:
    """The place on stdout, the error and what to do on stderr; then who accepted it and why."""
    edit(program)
    done = program("audit", "verify")
    assert done.returncode == 7
    assert "log:1: edited: 1 line was edited" in done.stdout
    assert done.stderr.startswith("brokerctl: error: the log is not what was written\n")
    assert "repair --accept" in done.stderr
    failed = program("audit", "verify", "--json")
    assert json.loads(failed.stdout)["problems"][0]["kind"] == "edited"
    assert json.loads(failed.stderr)["error"]["code"] == 7
    assert program("audit", "repair").returncode == 7
    assert program("audit", "repair", "--accept", "--reason", "a test").returncode == 0
    assert program("audit", "verify").returncode == 0
    record = json.loads(program("audit", "log", "--event", "log.accepted", "--json").stdout)
    assert (record["reason"], record["schema"]) == ("a test", 1)
    assert record["requester"]["uid"] == os.getuid()


def test_the_log_is_shown_as_text_and_as_json_lines(program: Program) -> None:
    """Plain text through a pipe; every field with --json; filters and limit apply."""
    assert program("audit", "repair").returncode == 0
    text = program("audit", "log").stdout.splitlines()
    assert [line.split()[1] for line in text] == ["log.checked", "log.checked"]
    assert all(line.split()[2:4] for line in text)  # who asked is not cut off
    lines = program("audit", "log", "--limit", "1", "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2]
    assert program("audit", "log", "--since", "1h", "--requester", "audit").stdout.count("\n") == 2
    assert program("audit", "log", "--until", "1h").stdout == ""


def test_wrong_words_are_refused(program: Program) -> None:
    """Exit code 2, the thing named, nothing changed."""
    for words, named in (
        (["log", "--since", "yesterday"], "'yesterday' is not a time"),
        (["repair", "--accept"], "--accept needs a reason"),
        (["repair", "--reason", "x"], "--reason goes with --accept"),
        (["verify", "--against", "x"], "--against is not in this version"),
        (["report", "--json"], "'audit report' is not in this version"),
    ):
        done = program("audit", *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert named in done.stderr
    assert "report" not in program("audit", "--help").stdout
    assert "against" not in program("audit", "verify", "--help").stdout


def test_on_a_terminal_there_is_a_table_and_in_a_pipe_there_is_none(program: Program) -> None:
    """Headings and whole cells for people; a narrow window gets lines."""
    for columns, first in (("120", "time"), ("80", "20")):
        ours, theirs = os.openpty()
        env = program.environment({"TERM": "xterm", "COLUMNS": columns, "NO_COLOR": "1"})
        done = subprocess.run([PROGRAM, "audit", "log"], stdout=theirs, env=env, check=False)
        os.close(theirs)
        shown = os.read(ours, 4096).decode()
        os.close(ours)
        assert done.returncode == 0
        assert shown.startswith(first)
        assert "log.checked" in shown
        assert "\x1b" not in shown
    assert "event" not in program("audit", "log").stdout


def test_following_ends_with_ctrl_c_and_with_its_reader(program: Program) -> None:
    """130 as for any program that SIGINT ends, 141 where the reader is gone; no traceback."""
    following = program.start("audit", "log", "--follow")
    assert following.stdout is not None
    assert "log.checked" in following.stdout.readline()
    following.send_signal(signal.SIGINT)
    assert following.communicate(timeout=20)[1] == ""
    assert following.returncode == 130


def test_a_reader_that_goes_away_ends_the_following(program: Program) -> None:
    """141 as for SIGPIPE, and silence."""
    with program.start("audit", "log", "--follow") as following:
        assert following.stdout is not None
        assert following.stderr is not None
        following.stdout.readline()
        following.stdout.close()
        program("audit", "repair")
        assert following.wait(20) == 141
        assert following.stderr.read() == ""


def test_nothing_held_is_nothing_listed(program: Program) -> None:
    """An empty answer is an answer."""
    assert program("audit", "tokens") == (0, "", "")
    assert json.loads(program("audit", "tokens", "--json").stdout) == {"schema": 1, "held": []}
