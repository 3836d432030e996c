"""The file in which a tool wants its answer stored: private, and never half written."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from brokerctl.errors import UsageError
from brokerctl.platform.system import SYSTEM, System
from brokerctl.platform.user_files import read_regular, replace_file

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def leave(path: str, data: bytes, system: System = SYSTEM) -> None:
    """Write the file; UsageError if another user could replace it.

    Security: the tool trusts what it finds there, so every user who can write to the folder could
    choose its credential. A sticky folder does not help: the file could exist before ours.
    """
    folder = os.path.dirname(path)
    if not os.path.isabs(path):
        raise UsageError(f"the output file {path} is no absolute path")
    try:
        found = os.stat(folder)
        if found.st_uid not in {0, os.geteuid()} or found.st_mode & _OTHERS:
            raise UsageError(f"others can write to {folder}, where the output file would be")
        if _is_there(path):
            os.chmod(path, 0o600)  # the new file gets this mode
        replace_file(path, data, system=system)
    except OSError as error:
        _take_back(path, data)
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"can't write the output file {path}: {reason}") from error


def _is_there(path: str) -> bool:
    """Return whether the file exists; UsageError if it is a link, or another user's."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise UsageError(f"the output file {path} is no regular file of yours")
    return True


def _take_back(path: str, data: bytes) -> None:
    """Remove a file that was written although an error came: the record says "not delivered"."""
    with suppress(OSError):
        if read_regular(path) == data:
            os.unlink(path)
