"""Asking for a passphrase on the terminal itself, never on stdin, which may be a pipe."""

from __future__ import annotations

import getpass
import os

from brokerctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TERMINAL = "/dev/tty"


def find_ask() -> Callable[[str], str] | None:
    """Return a function that prompts without echo; None if this process has no terminal."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return None
    return _ask


def _ask(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise UsageError("stopped") from None
