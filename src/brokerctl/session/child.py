"""Finds the child's program as a shell does, and starts it with our own descriptors.

Its input and output do not pass through us: descriptors 0, 1, 2 and others that the caller opened
are inherited as they are. Our own (locks, log, folders) are close-on-exec, so that no child can
hold a lock after our end.
"""

from __future__ import annotations

import errno

from brokerctl.errors import BrokerError
from brokerctl.platform import signals
from brokerctl.platform.system import os, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})


class NotStartedError(BrokerError):
    """The supervisor could not start the child for a reason of its own (as `env`: 125)."""

    exit_code = 125
    name = "not_started"


class NotExecutableError(NotStartedError):
    """The command exists and can't be run."""

    exit_code = 126
    name = "not_executable"


class NotFoundError(NotStartedError):
    """There is no such command."""

    exit_code = 127
    name = "not_found"


def find_program(command: str, environ: Mapping[str, str]) -> str:
    """Return the path of a command in the child's PATH; NotFoundError, NotExecutableError."""
    if "/" in command:
        found = [command]
    else:
        folders = environ.get("PATH", _DEFAULT_PATH).split(":")
        found = [f"{folder or '.'}/{command}" for folder in folders] if command else []
    refused = None
    for path in found:
        mode = _mode(path)
        if mode is None:
            continue
        if not stat.S_ISDIR(mode) and os.access(path, os.X_OK):
            return path
        refused = refused or path
    if refused is not None:
        raise NotExecutableError(f"'{refused}' can't be executed")
    raise NotFoundError(f"no command '{command}'", hint="the command comes after --")


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):  # ValueError: a NUL byte
        return None


def start(
    path: str,
    words: tuple[str, ...],
    environ: dict[str, str],
    mask: Iterable[int],
    **more: Any,  # noqa: ANN401 - of posix_spawn(3): file_actions, setpgroup
) -> int:
    """Start the child and return its process id; NotStartedError with its exit code.

    `mask` is the caller's signal mask. Ignored signals stay ignored, but for those that Python
    itself ignores, and SIGCHLD, which a supervisor must not ignore.
    """
    more |= {"setsigdef": signals.IGNORED_BY_PYTHON, "setsigmask": mask}
    try:
        return _spawn(path, words, environ, more)
    except ValueError as error:  # a NUL byte in a word or a variable
        raise NotStartedError("a word or variable of the command holds a NUL byte") from error
    except OSError as error:
        raise _refused(path, error) from error


def _spawn(path: str, words: tuple[str, ...], environ: dict[str, str], more: dict[str, Any]) -> int:
    try:
        return os.posix_spawn(path, words, environ, **more)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A script without a first line `#!`: as every shell and execvp(3) do.
    script = ("/bin/sh", path, *words[1:])
    return os.posix_spawn(script[0], script, environ, **more)


def _refused(path: str, error: OSError) -> NotStartedError:
    reason = os.strerror(error.errno or 0).lower()
    if error.errno in {errno.EAGAIN, errno.ENOMEM}:
        return NotStartedError(f"can't start '{path}': {reason}")
    if error.errno in _MISSING:
        hint = (
            "its first line (#!) names a program that is not there"
            if _mode(path) is not None
            else None
        )
        return NotFoundError(f"can't start '{path}': {reason}", hint=hint)
    return NotExecutableError(f"can't start '{path}': {reason}")
