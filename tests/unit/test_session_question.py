"""What a helper in a session sends and gets: any bytes, as text, and nothing that it need not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.helpers import HELPERS, HelperReply, load
from brokerctl.helpers.session_question import (
    HelperQuestion,
    SessionReply,
    make_question,
    parse_question,
    parse_reply,
    render_question,
    render_reply,
    run_words,
)

if TYPE_CHECKING:
    from pathlib import Path

FOR_GIT = b"protocol=https\nhost=git.example.com\n\n"
WORDS = some.binary(max_size=30).map(lambda data: data.decode("utf-8", "surrogateescape"))
TOOLS = some.sampled_from(sorted(HELPERS))
GIT = {"schema": 1, "words": ["git"], "stdin": "", "environ": {}, "unchecked": None}


@given(
    tool=TOOLS,
    words=some.lists(WORDS, max_size=5),
    data=some.binary(),
    environ=some.dictionaries(WORDS, WORDS, max_size=3),
    unchecked=some.none() | WORDS,
)
def test_a_question_arrives_as_it_was(
    tool: str, words: list[str], data: bytes, environ: dict[str, str], unchecked: str | None
) -> None:
    """Words, variables and stdin hold any bytes, also such as are no text."""
    question = HelperQuestion(
        words=(tool, *words), stdin=data, environ=environ, unchecked=unchecked
    )
    assert parse_question(render_question(question)) == question


@given(
    data=some.binary(),
    code=some.integers(0, 255),
    lines=some.lists(WORDS, max_size=3).map(tuple),
    file=some.none() | WORDS,
)
def test_a_reply_arrives_as_it_was(
    data: bytes, code: int, lines: tuple[str, ...], file: str | None
) -> None:
    """A token and its protocol's bytes too."""
    reply = SessionReply(stdout=data, exit_code=code, lines=lines, file=file)
    assert parse_reply(render_reply(reply)) == reply


@given(some.binary() | some.text().map(str.encode))
def test_any_bytes_are_a_question_or_refused(data: bytes) -> None:
    """Whoever connects to the socket may send anything."""
    for parse in (parse_question, parse_reply):
        with pytest.raises(UsageError):
            parse(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"words": []},
        {"words": ["install", "git"]},
        {"words": "git"},
        {"words": ["git", 1]},
        {"words": ["git", "\u0100"]},
        {"words": ["git"] * 65},
        {"words": [["git"]]},
        {"stdin": None},
        {"stdin": "\u0100"},
        {"environ": []},
        {"environ": {"A": 1}},
        {"unchecked": 1},
        {"unchecked": "x" * 4097},
    ],
)
def test_what_is_no_question_is_refused(changes: dict[str, Any]) -> None:
    """Each member has its form, and the first word names a helper."""
    parse_question(jsonlite.dumps(GIT).encode())
    with pytest.raises(UsageError):
        parse_question(jsonlite.dumps({**GIT, **changes}).encode())


def test_who_does_not_say_whether_certificates_are_checked_is_refused() -> None:
    """Security: silence is no word for "they are"."""
    silent = {name: value for name, value in GIT.items() if name != "unchecked"}
    with pytest.raises(UsageError, match="certificates"):
        parse_question(jsonlite.dumps(silent).encode())


def test_only_what_the_protocol_reads_is_sent() -> None:
    """Security: a variable of git's may hold a password: the finding alone is sent."""
    environ = {
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_CONFIG_PARAMETERS": "'http.extraHeader=Authorization: Basic c2VjcmV0'",
        "VAULT_ADDR": "https://vault.example.com",
        "HOME": "/home/alice",
    }
    asked = make_question(load("git"), ["git", "get"], FOR_GIT, environ)
    assert asked == HelperQuestion(
        words=("git", "get"), stdin=FOR_GIT, environ={}, unchecked="GIT_SSL_NO_VERIFY"
    )
    asked = make_question(load("vault"), ["vault", "get"], b"", environ)
    assert isinstance(asked, HelperQuestion)
    assert asked.environ == {"VAULT_ADDR": "https://vault.example.com"}
    assert asked.unchecked is None


def test_what_asks_for_nothing_is_answered_here() -> None:
    """As outside of a session, where no home is opened for it."""
    asked = make_question(load("git"), ["git", "capability"], b"", {})
    assert isinstance(asked, HelperReply)
    assert b"capability authtype" in asked.stdout


def test_what_is_refused_when_it_is_read_is_asked_all_the_same() -> None:
    """The supervisor refuses it too, and records that."""
    asked = make_question(load("gcp"), ["gcp", "--profile", "forge"], b"", {})
    assert isinstance(asked, HelperQuestion)


@pytest.mark.parametrize("tool", sorted(HELPERS))
def test_a_helper_in_a_session_opens_no_home(tool: str) -> None:
    """A container may have neither key nor store: of the rooms that know them nothing is loaded."""
    script = (
        "import sys; from brokerctl.helpers import load, session_question; load(sys.argv[1]);"
        " print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tool], capture_output=True, text=True, check=True
    )
    rooms = {name.split(".")[1] for name in done.stdout.split() if name.startswith("brokerctl.")}
    assert not rooms & {"home", "broker", "store", "keys", "policy", "audit", "effects"}


def test_no_file_is_written_but_the_one_that_the_tool_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Security: what answers at the socket chooses no path here."""
    path = tmp_path / "rc"
    reply = SessionReply(stdout=b"run me", exit_code=0, file=str(path))
    assert run_words(["pnpm", "--profile", "x"], {}, lambda _: reply) == 2
    assert not path.exists()
    out, err = capfd.readouterr()
    assert out == ""
    assert "a file that the tool has not named" in err


def test_other_words_are_no_helper_s() -> None:
    """The program itself answers them."""

    def ask(_: HelperQuestion) -> SessionReply:
        raise AssertionError("asked")

    assert [run_words(words, {}, ask) for words in ([], ["install", "git"], ["list"])] == [None] * 3


def test_lines_for_people_are_written_again_as_they_came(capfd: pytest.CaptureFixture[str]) -> None:
    """Without colour where nobody looks at a terminal."""
    from brokerctl import output  # noqa: PLC0415 - beside what it is about

    lines = ["brokerctl: error: no grant", "brokerctl: odd: x", "no line of ours"]
    for line in lines:
        output.repeat(line)
    assert capfd.readouterr() == ("", "".join(f"{line}\n" for line in lines))
    with output.Collected() as found:
        output.note("inner")
        with output.Collected() as inner:
            output.warn("most inner")
        output.note("outer")
        assert not output.has_terminal()
    assert found == ["brokerctl: note: inner", "brokerctl: note: outer"]
    assert inner == ["brokerctl: warning: most inner"]
    output.note("again")
    os.write(1, b"")
    assert capfd.readouterr().err == "brokerctl: note: again\n"
