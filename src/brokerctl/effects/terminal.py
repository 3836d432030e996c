"""The person at the terminal: asked through /dev/tty, never through stdin, which may be a pipe."""

from __future__ import annotations

import os
import termios
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Mapping

TERMINAL = "/dev/tty"
_FLAGS = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
_MAX_BYTES = 64 * 1024
_LF = 10


def is_interactive(environ: Mapping[str, str] | None = None, path: str = TERMINAL) -> bool:
    """Return whether somebody can be asked: a terminal in the foreground, and no CI."""
    if (os.environ if environ is None else environ).get("CI"):
        return False
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return False
    try:
        # A background job that reads would be stopped by SIGTTIN, and nobody would know why.
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(fd)


def ask(prompt: str, default: str | None = None, path: str = TERMINAL) -> str:
    """Return one line, or the default for an empty one; UsageError if there is no answer."""
    shown = f"{safe(prompt)} [{safe(default)}]: " if default else f"{safe(prompt)}: "
    fd = _open(path)
    try:
        os.write(fd, shown.encode())
        return _line(fd) or default or ""
    finally:
        os.close(fd)


def ask_secret(prompt: str, path: str = TERMINAL) -> str:
    """Return one line that is not shown while it is typed; UsageError if there is no answer."""
    fd = _open(path)
    try:
        before = termios.tcgetattr(fd)
        silent = [*before]
        silent[3] = before[3] & ~(termios.ECHO | termios.ECHONL)
        # TCSAFLUSH: what was typed ahead, in sight, is not taken for the secret.
        termios.tcsetattr(fd, termios.TCSAFLUSH, silent)
        try:
            os.write(fd, f"{safe(prompt)}: ".encode())
            return _line(fd)
        finally:
            termios.tcsetattr(fd, termios.TCSAFLUSH, before)
            os.write(fd, b"\n")
    finally:
        os.close(fd)


def say(text: str, path: str = TERMINAL) -> None:
    """Write one line to the terminal."""
    fd = _open(path)
    try:
        os.write(fd, f"{safe(text)}\n".encode())
    finally:
        os.close(fd)


def confirm(prompt: str, path: str = TERMINAL) -> bool:
    """Return whether the answer begins with y; an empty one is no."""
    return ask(f"{prompt} (y/N)", path=path).strip().lower().startswith("y")


def _open(path: str) -> int:
    try:
        return os.open(path, _FLAGS)
    except OSError:
        raise UsageError("there is no terminal to ask on") from None


def _line(fd: int) -> str:
    found = bytearray()
    while not found or found[-1] != _LF:
        byte = os.read(fd, 1)
        if not byte or len(found) > _MAX_BYTES:
            os.write(fd, b"\n")  # what is said next begins a line of its own
            raise UsageError("stopped: nothing was answered")
        found += byte
    try:
        return found.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("the answer is not text in UTF-8") from None
