"""The terminal as a second way for the answer to come back: a pasted callback URL.

ssh and containers have a browser elsewhere, whose loopback is not ours. /dev/tty and not stdin is
read, so that a pipe into the program stays untouched.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import time

_TTY = "/dev/tty"
_BACKGROUND_PAUSE_S = 0.2
_LINE_BYTES = 8192


class Paste:
    """The controlling terminal, opened for one login."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""

    def read_line(self) -> str | None:
        """Return a line that was typed, with its end; "" where there is none yet, None at the end.

        Never blocks for long, and never reads in the background, where that would stop us.
        """
        if not is_foreground(self.fd):
            time.sleep(_BACKGROUND_PAUSE_S)  # what is typed now is not for us
            return ""
        return self._read()

    def _read(self) -> str | None:
        try:
            chunk = os.read(self.fd, _LINE_BYTES)
        except BlockingIOError:
            return ""
        except OSError:
            return None
        if not chunk:
            return None
        self._rest += chunk
        line, newline, rest = self._rest.partition(b"\n")
        if not newline:
            self._rest = line[-_LINE_BYTES:]
            return ""
        self._rest = rest
        return (line + newline).decode("utf-8", "replace")

    def say(self, text: str) -> None:
        """Write one line to the terminal."""
        with contextlib.suppress(OSError):  # a terminal that is gone is no reason to end the login
            os.write(self.fd, f"brokerctl: {text}\n".encode())

    def confirm(self, prompt: str, timeout_s: float) -> bool:
        """Return whether a line that begins with y is typed in time; anything else is no."""
        deadline = time.monotonic() + timeout_s
        self._rest = b""  # what was typed before is no answer
        with contextlib.suppress(OSError):
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
    """Say whether this process may read the terminal without being stopped."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
