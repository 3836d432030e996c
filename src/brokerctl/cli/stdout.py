"""The stdout of commands: every byte is written, or it is said why not; never a bug's message."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from brokerctl import wire

_STDOUT = 1


class StdoutError(OSError):
    """What stands on stdout is not the whole answer."""


class _Stdout(io.RawIOBase):
    """Descriptor 1, waited for where it is non-blocking and full: Python's own gives up there."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STDOUT

    def isatty(self) -> bool:
        return os.isatty(_STDOUT)

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        view = memoryview(data).cast("B")
        try:
            wire.write_fully(_STDOUT, bytes(view))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StdoutError(error.errno, os.strerror(error.errno or 0).lower()) from error
        return len(view)


def replace_stdout() -> None:
    """Let Python print through it: also where stdout was closed, and in any locale."""
    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout()),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=os.isatty(_STDOUT),
    )
