"""A pasted callback arrives whole, however long, and the terminal is given back as it was."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.effects.loopback import Loopback
from brokerctl.effects.paste import Paste
from brokerctl.errors import LoginNeededError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Terminal:
    """A terminal, its person's end, and what was shown on it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        os.set_blocking(self.slave, False)
        self.paste = Paste(self.slave, lambda _: True)
        self.listener = Loopback()
        self.accepted: list[str] = []

    def waits(self, typed: bytes, timeout_s: float = 10) -> str:
        """Type, and return the query that a login takes of it."""
        writer = threading.Thread(target=self._type, args=(typed,))
        try:
            with self.paste.whole_lines():
                writer.start()
                return self.listener.wait(self._accept, timeout_s, self.paste)
        finally:
            writer.join(10)

    def _type(self, typed: bytes) -> None:
        os.set_blocking(self.master, False)
        while typed:  # as a terminal does: it takes what is shown while it hands over the paste
            _, can_write, _ = select.select([self.master], [self.master], [], 5)
            self.shown()
            if can_write:
                with contextlib.suppress(BlockingIOError):
                    typed = typed[os.write(self.master, typed[:1000]) :]

    def _accept(self, query: str) -> bool:
        self.accepted.append(query)
        return "state=right" in query.split("&")

    def shown(self) -> bytes:
        """Return what is on the screen and was not asked for yet."""
        seen = b""
        while select.select([self.master], [], [], 0)[0]:
            seen += os.read(self.master, 65536)
        return seen

    def url(self, query: str) -> bytes:
        """Return the address that the login ends at."""
        return f"{self.listener.redirect_uri}?{query}".encode()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Return somebody at a terminal, with a login that waits."""
    made = Terminal()
    yield made
    made.listener.close()
    os.close(made.master)
    os.close(made.slave)


def settings(fd: int) -> list[Any]:
    """Return a terminal's settings."""
    return termios.tcgetattr(fd)


@pytest.mark.parametrize("size", [10, 4094, 4095, 4096, 8191, 8192, 60000])
@pytest.mark.parametrize("order", ["code={code}&state=right", "state=right&code={code}"])
def test_long(terminal: Terminal, size: int, order: str) -> None:
    """A callback of any length that a query may have is read whole, whatever stands first."""
    before = settings(terminal.slave)
    query = order.format(code="c" * size)
    assert terminal.waits(terminal.url(query) + b"\r") == query
    assert settings(terminal.slave) == before


@pytest.mark.parametrize(
    "typed",
    [
        lambda url: b"nonsense\x15" + url + b"\r",
        lambda url: url + b"xy\x7f\b\r",
        lambda url: b"\x7f\x7f" + url + b"\r\n",
        lambda url: b"\x1b[200~" + url + b"\x1b[201~\r",
        lambda url: b"nonsense\n\n" + url + b"\n  \n",
    ],
)
def test_edited(terminal: Terminal, typed: Callable[[bytes], bytes]) -> None:
    """Lines are edited as on every terminal; a shell's marks round a paste are no part of it."""
    assert terminal.waits(typed(terminal.url("state=right&code=c"))) == "state=right&code=c"


@pytest.mark.parametrize(
    "typed",
    [
        lambda url: url + b"c\rut\r",
        lambda url: url + b"c" * 200_000 + b"\r",
    ],
)
def test_a_cut_code_is_not_sent(terminal: Terminal, typed: Callable[[bytes], bytes]) -> None:
    """What a line's end breaks, or what is longer than any callback, is refused, and said."""
    with pytest.raises(LoginNeededError):
        terminal.waits(typed(terminal.url("state=right&code=")), timeout_s=1)
    assert b"brokerctl: " in terminal.shown()


def test_a_terminal_that_edits_itself(terminal: Terminal) -> None:
    """Where its own lines can't be switched off, one as long as it cuts them is refused."""
    paste = Paste(terminal.slave, lambda _: True)
    os.write(terminal.master, terminal.url("state=right&code=" + "c" * 5000) + b"\n")
    assert paste.read_line() == ""
    assert b"too long" in terminal.shown()
    os.write(terminal.master, b"short\n")
    assert paste.read_line() == "short\n"


WAITER = """
import os, sys, time
from brokerctl.effects.paste import Paste
paste = Paste(int(sys.argv[1]), lambda _: True)
with paste.whole_lines():
    print("ready", flush=True)
    while True:  # no pause(2): a signal just before it would be waited for for ever
        time.sleep(0.02)
"""


def test_signals(terminal: Terminal) -> None:
    """Any signal that ends or stops a login finds the terminal as it was before, and works."""
    before = settings(terminal.slave)
    for number in ("TERM", "HUP", "QUIT", "INT", "ALRM", "USR1", "PWR", "XCPU", "RTMIN"):
        with _waiter(terminal) as waiter:
            assert settings(terminal.slave) != before, number
            waiter.send_signal(signal.Signals[f"SIG{number}"])
            code = waiter.wait(20)
        assert code in {-signal.Signals[f"SIG{number}"], 1}, number
        assert settings(terminal.slave) == before, number


def test_stopped(terminal: Terminal) -> None:
    """A login that is stopped gives the terminal to the shell, and takes it again after."""
    before = settings(terminal.slave)
    with _waiter(terminal) as waiter:
        waiter.send_signal(signal.SIGTSTP)
        os.waitpid(waiter.pid, os.WUNTRACED)
        assert settings(terminal.slave) == before
        waiter.send_signal(signal.SIGCONT)
        for _ in range(1000):
            if settings(terminal.slave) != before:
                break
            time.sleep(0.02)
        assert settings(terminal.slave) != before
        waiter.kill()


def _waiter(terminal: Terminal) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", WAITER, str(terminal.slave)]
    # In a group of its own: one without a parent outside of it can't be stopped from a terminal.
    waiter = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(terminal.slave,),
        process_group=0,
    )
    assert waiter.stdout is not None
    assert waiter.stdout.readline() == b"ready\n"
    return waiter
