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

from brokerctl.programs import environ_for

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


def _split(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError:
        return []  # an open quote: not a command, like one that does not exist
    return words[:-1] if words[-1:] == ["&"] else words


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
