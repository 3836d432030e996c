"""Reads a tool's request from stdin: bounded in size and in time, whoever sends it."""

from __future__ import annotations

import select
import time

from brokerctl.helpers import BLOCK, NOTHING, MalformedError
from brokerctl.system import os

_STDIN = 0
_REQUEST_BYTES = 1 << 20
_WAIT_S = 20.0


def read_request(how: str, wait_s: float = _WAIT_S) -> bytes:
    """Read up to an empty line (BLOCK) or the end (ALL); MalformedError where neither comes."""
    data, deadline = b"", time.monotonic() + wait_s
    while how != NOTHING and not (how == BLOCK and (data.endswith(b"\n\n") or data == b"\n")):
        if not select.select([_STDIN], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise MalformedError("it does not end")
        try:
            piece = os.read(_STDIN, 65536)
        except OSError:
            break  # it was closed: nothing is asked
        if not piece:
            break
        data += piece
        if len(data) > _REQUEST_BYTES:
            raise MalformedError("it is too long")
    return data
