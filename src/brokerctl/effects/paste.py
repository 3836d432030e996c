"""The terminal as a second way for the issuer's answer: the person pastes the callback URL.

With ssh or a container the browser runs on another machine, whose loopback is not ours. /dev/tty is
read, not stdin, which may be a pipe. Lines are edited and echoed here, because a terminal cuts a
line at 4,095 bytes, and some issuers' codes are longer.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TTY = "/dev/tty"
_BACKGROUND_PAUSE_S = 0.2
_SAME_PASTE_S = 0.1
_READ_BYTES = 8192
_LINE_BYTES = 128 * 1024  # twice what a callback's query may have
_CANONICAL_BYTES = 4095  # the longest line that a terminal hands over by itself, cut or not
_LOCAL_FLAGS, _CHARACTERS = 3, 6  # where termios attributes hold them
_ENDS, _ERASE, _KILL, _EOF, _BLANK = b"\r\n", b"\x7f\b", 0x15, 0x04, 0x20
_BRACKETS = (b"\x1b[200~", b"\x1b[201~")  # around what is pasted, where a shell left that on
# What neither ends nor stops a process, can't be caught, or is a fault that must not be survived.
_NOT_WATCHED = {
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGCONT, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSEGV, signal.SIGBUS),
    *(signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP),
}


class Paste:
    """The controlling terminal, opened for one login."""

    def __init__(self, fd: int, is_front: Callable[[int], bool] | None = None) -> None:
        self.fd = fd
        self._is_front = is_front or is_foreground
        self._line = bytearray()
        self._lines: list[str] = []
        self._before: list[Any] | None = None  # the terminal's own settings, while ours hold
        self._is_raw = self._is_ended = self._is_cut = False

    @contextmanager
    def whole_lines(self) -> Iterator[None]:
        """Edit lines here, not in the terminal, which cuts each at 4,095 bytes.

        The terminal's own settings come back at the end, and before any signal that ends or stops
        us; after SIGCONT ours hold again. Enter this before anything is shown that a person could
        answer: what was typed earlier is dropped.
        """
        handlers: dict[int, Any] = {}
        try:
            self._take()
            if threading.current_thread() is threading.main_thread():
                self._watch(handlers)
            yield
        finally:
            self._give_back()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _watch(self, handlers: dict[int, Any]) -> None:
        for number in signal.valid_signals() - _NOT_WATCHED:
            if signal.getsignal(number) is signal.SIG_DFL:
                handlers[number] = signal.signal(number, self._on_signal)
        handlers[signal.SIGCONT] = signal.signal(signal.SIGCONT, lambda *_: self._take())

    def _on_signal(self, number: int, _frame: object) -> None:
        """Let a signal do what it does, with the terminal as it was."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Only one that stopped us comes back here.
        signal.signal(number, self._on_signal)
        self._take()

    def _take(self) -> None:
        if not self._is_front(self.fd):
            return  # in the background the settings are the shell's, and to change them stops us
        try:
            now = termios.tcgetattr(self.fd)
            self._before = now if self._before is None else self._before
            now = [*now]
            now[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO | termios.ECHONL)
            now[_CHARACTERS] = [*now[_CHARACTERS]]
            now[_CHARACTERS][termios.VMIN], now[_CHARACTERS][termios.VTIME] = 1, 0
            termios.tcflush(self.fd, termios.TCIFLUSH)  # typed ahead, and perhaps cut
            termios.tcsetattr(self.fd, termios.TCSANOW, now)
            self._is_raw = True
        except termios.error:
            self._is_raw = False  # lines are the terminal's own, and those that it cuts are refused

    def _give_back(self) -> None:
        if self._is_raw and self._before is not None and self._is_front(self.fd):
            with contextlib.suppress(termios.error):  # it may have hung up
                termios.tcsetattr(self.fd, termios.TCSANOW, self._before)
        self._is_raw = False

    def read_line(self) -> str | None:
        """Return a line that was typed, with its end; "" where there is none yet, None at the end.

        Never blocks for long, and never reads in the background, where that would stop us.
        """
        if not self._lines and not self._is_front(self.fd):
            time.sleep(_BACKGROUND_PAUSE_S)  # what is typed now is not for us
            return ""
        if not self._lines and not self._is_ended:
            self._read()
        if self._lines:
            return self._lines.pop(0)
        return None if self._is_ended else ""

    def is_followed(self) -> bool:
        """Return whether more than blanks came right behind the last line: it was a part of it."""
        if select.select([self.fd], [], [], _SAME_PASTE_S)[0] and not self._is_ended:
            self._read()
        return bool(self._line) or any(line.strip() for line in self._lines)

    def _read(self) -> None:
        try:
            chunk = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._is_ended = not chunk
        shown = bytearray()
        for byte in chunk:
            shown += self._type(byte)
        if self._is_raw and shown:
            with contextlib.suppress(OSError):  # an echo that can't be written is no loss
                os.write(self.fd, shown)

    def _type(self, byte: int) -> bytes:
        """Take one byte as a terminal's line would, and return its echo."""
        line = self._line
        if byte in _ENDS:
            self._end_line()
            return b"\r\n"
        if self._is_raw and byte == _EOF:
            self._is_ended = not line
            return b""
        if self._is_raw and (byte in _ERASE or byte == _KILL):
            count = len(line) if byte == _KILL else min(1, len(line))
            del line[len(line) - count :]
            return b"\b \b" * count
        if len(line) >= _LINE_BYTES:
            self._is_cut = True
            return b""
        line.append(byte)
        return bytes([byte]) if byte >= _BLANK else b""

    def _end_line(self) -> None:
        text = bytes(self._line)
        is_cut = self._is_cut or (not self._is_raw and len(text) >= _CANONICAL_BYTES)
        self._line.clear()
        self._is_cut = False
        if is_cut:
            # Security: what the terminal cut is sent nowhere: a code is good for one try.
            self.say(f"that line is too long to be read whole: {len(text)} bytes and more")
            return
        for mark in _BRACKETS:
            text = text.replace(mark, b"")
        self._lines.append(text.decode("utf-8", "replace") + "\n")

    def say(self, text: str) -> None:
        """Write one line to the terminal."""
        with contextlib.suppress(OSError):  # a terminal that is gone is no reason to end the login
            os.write(self.fd, f"brokerctl: {text}\n".encode())

    def confirm(self, prompt: str, timeout_s: float) -> bool:
        """Return whether a line that begins with y is typed in time; anything else is no."""
        deadline = time.monotonic() + timeout_s
        self._line.clear()
        self._lines.clear()  # what was typed before is no answer
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self.fd, termios.TCIFLUSH)
            os.write(self.fd, f"brokerctl: {prompt} (y/N) ".encode())
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], min(left, 1.0))[0]:
                continue
            line = self.read_line()
            if line != "":
                return line is not None and line.strip().lower().startswith("y")
        return False

    def close(self) -> None:
        """Give the terminal back."""
        os.close(self.fd)


def open_paste(path: str = _TTY) -> Paste | None:
    """Open the terminal if there is one and we are in its foreground."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if os.isatty(fd) and is_foreground(fd):
        return Paste(fd)
    os.close(fd)
    return None


def is_foreground(fd: int) -> bool:
    """Return whether this process may read the terminal without being stopped."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
