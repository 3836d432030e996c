"""Asking a person: through the terminal itself, shown or unseen, and never where nobody is."""

from __future__ import annotations

import os
import pty
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.effects import terminal
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Person:
    """The other end of a terminal."""

    def __init__(self) -> None:
        self.fd, self.inner = pty.openpty()
        self.path = os.ttyname(self.inner)

    def types(self, text: bytes, call: Callable[[], str]) -> tuple[str, str]:
        """Return what the call answers when this is typed once it has prompted, and the screen."""
        seen = b""

        def answer() -> None:
            nonlocal seen
            while not seen.endswith(b": "):
                seen += os.read(self.fd, 1000)
            os.write(self.fd, text)

        typist = threading.Thread(target=answer)
        typist.start()
        try:
            found = call()
        finally:
            typist.join()
            os.set_blocking(self.fd, False)
            time.sleep(0.05)
            try:
                seen += os.read(self.fd, 1000)
            except BlockingIOError:
                seen += b""
        return found, seen.decode()

    def echoes(self) -> bool:
        """Return whether what is typed is shown."""
        return bool(termios.tcgetattr(self.inner)[3] & termios.ECHO)


@pytest.fixture
def person() -> Iterator[Person]:
    """Return somebody at a terminal of their own."""
    one = Person()
    yield one
    os.close(one.fd)
    os.close(one.inner)


def test_an_answer_is_one_line(person: Person) -> None:
    """The line comes back without its end; umlauts are letters."""
    found, seen = person.types("Jörg\n".encode(), lambda: terminal.ask("name", path=person.path))
    assert found == "Jörg"
    assert seen.startswith("name: ")


def test_an_empty_answer_is_the_default(person: Person) -> None:
    """The default is shown and taken."""
    found, seen = person.types(b"\n", lambda: terminal.ask("flow", "code", path=person.path))
    assert found == "code"
    assert "flow [code]: " in seen


def test_a_secret_is_typed_unseen_and_echo_comes_back(person: Person) -> None:
    """What is typed is not on the screen, and the terminal is as before."""
    found, seen = person.types(b"hunter2\n", lambda: terminal.ask_secret("key", path=person.path))
    assert found == "hunter2"
    assert "hunter2" not in seen
    assert person.echoes()


def test_an_ended_input_is_an_error_and_echo_comes_back(person: Person) -> None:
    """Ctrl-D is no answer, neither shown nor unseen."""
    for ask in (terminal.ask, terminal.ask_secret):
        with pytest.raises(UsageError):
            person.types(b"\x04", lambda ask=ask: ask("key", path=person.path))  # type: ignore[misc]  # mypy can't type a default
        assert person.echoes()
        os.set_blocking(person.fd, True)


def test_a_prompt_draws_nothing(person: Person) -> None:
    """An issuer's text in a prompt can't move the cursor."""
    _, seen = person.types(b"\n", lambda: terminal.ask("a\x1b[2Jb", path=person.path))
    assert "\x1b[2J" not in seen


def test_nobody_is_asked_where_nobody_is(person: Person) -> None:
    """No terminal, CI, or a terminal that is not ours to read: no question."""
    assert not terminal.is_interactive({}, "/nonexistent")
    assert not terminal.is_interactive({"CI": "true"}, person.path)
    assert not terminal.is_interactive({}, person.path)  # it is not our controlling terminal
    with pytest.raises(UsageError, match="no terminal"):
        terminal.ask("x", path="/nonexistent")
