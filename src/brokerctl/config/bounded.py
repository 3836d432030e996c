"""Runs a program for its output: no shell, from `/`, within a time and a size."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHUNK_BYTES = 65536


def run_bounded(
    words: Sequence[str],
    environ: Mapping[str, str],
    timeout_s: float,
    limit: int,
    *,
    given: bytes | None = None,
    is_quiet: bool = False,
) -> tuple[int, bytes]:
    """Return (exit code, output); OSError if it can't start, TimeoutError if it doesn't end.

    Its errors go to our stderr unless `is_quiet`. `given` is written to its stdin and must be
    small; without it there is none. Whatever it started and left behind is not waited for.
    """
    deadline = time.monotonic() + timeout_s
    child = subprocess.Popen(
        list(words),
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if is_quiet else None,
        env=dict(environ),
        cwd="/",  # an entry of PATH like `.` means nothing of the working folder's
    )
    try:
        if child.stdin is not None and given is not None:
            _give(child.stdin.fileno(), given)
            child.stdin.close()
        assert child.stdout is not None  # noqa: S101 - it is a pipe, above
        output = _read(child.stdout.fileno(), deadline, limit)
        return child.wait(max(0.0, deadline - time.monotonic())), output
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()


def _give(fd: int, data: bytes) -> None:
    try:
        os.write(fd, data)
    except BrokenPipeError:
        return  # its exit code says more


def _read(fd: int, deadline: float, limit: int) -> bytes:
    found = b""
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
            raise TimeoutError
        chunk = os.read(fd, _CHUNK_BYTES)
        if not chunk:
            return found
        found += chunk
        if len(found) > limit:
            raise OSError("more output than a secret has")
