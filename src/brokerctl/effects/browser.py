"""Opens the user's browser: `$BROWSER` as everywhere, else the desktop's own opener.

Security: no shell, the URL is one argument, and the child gets neither our descriptors nor our
secrets' variables.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from brokerctl.platform.commands import environ_for
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LINUX = ("xdg-open", "x-www-browser", "sensible-browser", "wslview")


def commands(url: str, environ: Mapping[str, str], *, has_terminal: bool) -> Iterator[list[str]]:
    """Yield what could open the URL, best first; nothing where nobody would see a browser."""
    if environ.get("BROWSER"):
        for text in environ["BROWSER"].split(":"):
            words = _split(text)
            if words:
                yield _with_url(words, url)
        return
    if environ.get("CI") or not has_terminal:
        return
    if sys.platform == "darwin":
        yield ["open", url]
    elif environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        yield from ([name, url] for name in _LINUX)


def unusable(environ: Mapping[str, str]) -> str | None:
    """Return what is wrong with the program that BROWSER names; None where it names none."""
    if not environ.get("BROWSER"):
        return None
    named = [words[0] for text in environ["BROWSER"].split(":") if (words := _split(text))]
    what = f"'{safe(named[0])}'" if named else f"no command: '{safe(environ['BROWSER'])}'"
    quoted = "; a path with blanks needs quotes of its own" if " " in environ["BROWSER"] else ""
    return f"no browser could be started: BROWSER names {what}{quoted}"


def _split(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError:
        return []  # an open quote: not a command, like one that does not exist
    if words and os.path.isabs(text) and not _can_run(words[0]):
        words = _with_blanks(text) or words
    return words[:-1] if words[-1:] == ["&"] else words


def _with_blanks(text: str) -> list[str]:
    """Return the words where the program's own path has blanks in it, unquoted."""
    ends = [len(text), *(at for at, letter in enumerate(text) if letter == " ")]
    for end in sorted(ends, reverse=True):
        if _can_run(text[:end]):
            return [text[:end], *shlex.split(text[end:])]
    return []


def _can_run(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _with_url(words: list[str], url: str) -> list[str]:
    if any("%s" in word for word in words[1:]):
        return [words[0], *(word.replace("%s", url) for word in words[1:])]
    return [*words, url]


def open_browser(url: str, environ: Mapping[str, str], *, has_terminal: bool) -> bool:
    """Start the first browser that exists, detached; False if there is none."""
    for words in commands(url, environ, has_terminal=has_terminal):
        program = shutil.which(words[0], path=environ.get("PATH", os.defpath))
        if program and _start([program, *words[1:]], environ):
            return True
    return False


def _start(words: list[str], environ: Mapping[str, str]) -> bool:
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environ_for("browser", environ),
            close_fds=True,
            start_new_session=True,
        )
    except OSError:
        return False
    _reap(child)
    return True


def _reap(child: subprocess.Popen[bytes]) -> None:
    """Leave no zombie while we wait.

    Security: a thread that takes signals would take those that a token request holds back.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=child.wait, daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
