"""A pseudo-terminal between the child and our terminal, for a child whose output is masked.

If a person types at our terminal, it is made raw and every key is passed on; the child runs in a
session of its own on the inner terminal, so that ^C, ^Z and full-screen programs work as usual. If
stdin is no terminal (a script's `exec --mask <FILE`), only the output is passed on, and the child
stays in our session.
"""

from __future__ import annotations

import select
import termios
import threading
import tty

from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STDIN, _STDOUT = 0, 1
_OUTPUT_FLAGS = 1  # the index of the output flags in termios attributes
_READ_BYTES = 4096
_LOOK_S = 0.2  # how often to look whether the terminal is still ours


def open_terminal() -> Terminal | None:
    """Return the inner terminal; None if neither stdout nor stderr is a terminal."""
    outputs = [stream for stream in (1, 2) if os.isatty(stream)]
    if not outputs:
        return None
    return Terminal(outputs[0], has_input=outputs[0] == _STDOUT and _is_ours(_STDIN))


def _is_ours(stream: int) -> bool:
    """Return whether this terminal's input is for us: a background job must not read it."""
    try:
        return os.isatty(stream) and os.tcgetpgrp(stream) == os.getpgrp()
    except OSError:
        return False


class Terminal:
    """The inner terminal: `ours` is the side that we read, `childs` the one that the child has."""

    def __init__(self, outer: int, *, has_input: bool) -> None:
        self.has_input = has_input
        self.ours, self.childs = os.openpty()
        os.set_blocking(self.ours, False)
        self._outer = outer
        self._before: list[Any] | None = None  # our terminal's settings, while it is raw
        self._is_front = threading.Event()
        self._reading = threading.Lock()  # held while a key is read: none after the end
        attributes = termios.tcgetattr(outer)
        if not has_input:
            attributes[_OUTPUT_FLAGS] &= ~termios.OPOST  # our own terminal converts newlines
        termios.tcsetattr(self.childs, termios.TCSANOW, attributes)
        self.resize()

    def resize(self) -> None:
        """Give the inner terminal our size; the kernel signals its foreground programs."""
        try:
            termios.tcsetwinsize(self.ours, termios.tcgetwinsize(self._outer))
        except (OSError, termios.error):
            return  # a terminal without a size

    def begin(self) -> None:
        """Make our terminal raw and pass on what is typed."""
        os.close(self.childs)
        self.childs = -1
        if self.has_input:
            self.go_on()
            threading.Thread(target=self._pass_keys, daemon=True).start()

    def go_on(self) -> None:
        """Make our terminal raw again, after a stop."""
        self.resize()
        if self.has_input and self._before is None and _is_ours(_STDIN):
            self._before = termios.tcgetattr(_STDIN)
            tty.setraw(_STDIN, termios.TCSADRAIN)
            self._is_front.set()

    def pause(self) -> None:
        """Restore the settings of our terminal."""
        self._is_front.clear()
        before, self._before = self._before, None
        if before is not None:
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)

    def end_keys(self) -> None:
        """Stop reading keys: what is typed from now on is for the next program."""
        with self._reading:
            self._is_front.clear()

    def close(self) -> None:
        """Restore our terminal and close the inner one, after the child's end."""
        self.pause()
        os.close(self.ours)

    def _pass_keys(self) -> None:
        ours = os.dup(self.ours)
        try:
            while self._is_front.wait():
                if select.select([_STDIN], [], [], _LOOK_S)[0] and not self._pass_one(ours):
                    return
        except OSError:
            return  # the child's side is closed
        finally:
            os.close(ours)

    def _pass_one(self, ours: int) -> bool:
        with self._reading:
            if not self._is_front.is_set():
                return True  # the child has ended, or we have stopped, since there was a key
            try:
                data = os.read(_STDIN, _READ_BYTES)
            except OSError:
                self._is_front.clear()  # we were put in the background just now: wait for `fg`
                return True
        is_open = bool(data)
        while data:
            select.select([], [ours], [])
            try:
                data = data[os.write(ours, data) :]
            except BlockingIOError:
                continue  # the child does not read now
        return is_open
