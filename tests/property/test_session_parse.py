"""The grammar of `exec`, for any words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerctl.session.start import parse_exec

WORDS = st.sampled_from(
    ["-p", "a", "--profile", "--env", "X=a", "--env=Y=a", "--file", "--scope", "--ttl", "5m", "--",
     "--revoke", "--keep", "--clean-env", "--min-ttl=1s", "--purpose", "cmd", "", "=", "-", "--=",
     "--subject", "--resource", "--audience=x"]
) | st.text(max_size=5)  # fmt: skip


@given(st.lists(WORDS, max_size=12))
def test_any_words_are_read_or_left(words: list[str]) -> None:
    """No command line raises; what is read has the command that stands after the first `--`."""
    ask = parse_exec(words)
    if ask is not None:
        assert list(ask.command) == words[words.index("--") + 1 :]
        assert ask.command[0]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_the_command_is_taken_as_it_is(command: list[str]) -> None:
    """Every word after `--` is the child's, whatever it looks like."""
    ask = parse_exec(["-p", "a", "--", *command])
    assert ask is not None
    assert list(ask.command) == command
