"""The person at the terminal: asked through /dev/tty, never through stdin, which may be a pipe."""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
import time
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.output import write_fully
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TERMINAL = "/dev/tty"
_FLAGS = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
_MAX_BYTES = 64 * 1024
_LF = 10
_LOOK_S = 0.2


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


def ask_until(
    lines: Sequence[str],
    prompt: str,
    timeout_s: float,
    look: Callable[[], bool],
    path: str = TERMINAL,
) -> str | None:
    """Return the line that was typed after the prompt; None when `look` says that none is needed.

    The lines are shown as they are: foreign text in them must be safe. TimeoutError where nobody
    typed one in time, UsageError where the terminal has gone. An end of input is an empty line.

    Security: what was typed before the question was there is no answer to it. Nor is what others
    write to the terminal: it is shown, and never read. After ^Z and `fg` the question is shown
    again, since what was typed meanwhile was for a shell.
    """
    fd = _open(
        path, os.O_NONBLOCK
    )  # of this description alone: another may read what we were told of
    question = "".join(f"{line}\n" for line in lines) + prompt
    turns, back = _watch_turns()
    try:
        _pose(fd, question)
        answer = _typed(fd, question, time.monotonic() + timeout_s, look, turns)
        _show(fd, "" if answer is not None else "\nit is answered elsewhere\n")
    except TimeoutError:
        _show(fd, "\n")
        raise
    except (OSError, termios.error):
        raise UsageError("the terminal has gone") from None
    else:
        return answer
    finally:
        back()
        os.close(fd)


class _Turns:
    """Whether a shell has had the terminal since the question was shown."""

    was_away = False


def _watch_turns() -> tuple[_Turns, Callable[[], None]]:
    """Note when we go on after ^Z; return what notes it, and what ends that."""
    turns = _Turns()
    if threading.current_thread() is not threading.main_thread():
        return turns, lambda: None  # a signal is the main thread's

    def note(_number: int, _frame: object) -> None:
        turns.was_away = True

    before = signal.signal(signal.SIGCONT, note) or signal.SIG_DFL

    def back() -> None:
        signal.signal(signal.SIGCONT, before)

    return turns, back


def _pose(fd: int, question: str) -> None:
    termios.tcflush(fd, termios.TCIFLUSH)
    _show(fd, question)


def _show(fd: int, text: str) -> None:
    write_fully(fd, text.encode("utf-8", "backslashreplace"))


def _typed(
    fd: int, question: str, deadline: float, look: Callable[[], bool], turns: _Turns
) -> str | None:
    found = bytearray()
    while not look():
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        ready = select.select([fd], [], [], min(left_s, _LOOK_S))[0]
        # In the background nothing is read: it would stop us, and nobody would know why.
        if os.tcgetpgrp(fd) != os.getpgrp():
            turns.was_away = True
            if ready:
                time.sleep(_LOOK_S)
            continue
        chunk = _read(fd) if ready else None
        if turns.was_away:  # what came meanwhile was typed for a shell
            turns.was_away = False
            found.clear()
            _pose(fd, f"\n{question}")
        elif chunk is not None:
            found += chunk
            if not chunk or found[-1] in b"\r\n" or len(found) >= _MAX_BYTES:
                return found.decode("utf-8", "replace").strip()
    return None


def _read(fd: int) -> bytes | None:
    try:
        return os.read(fd, _MAX_BYTES)
    except BlockingIOError:
        return None  # another process was faster


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


def _open(path: str, more: int = 0) -> int:
    try:
        return os.open(path, _FLAGS | more)
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
