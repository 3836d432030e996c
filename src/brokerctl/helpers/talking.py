"""A protocol of many lines: each is a request, answered before the next one is read.

The tool keeps the pipe open between them, for as long as it runs, so that nothing is waited for
but its next line or its end.
"""

from __future__ import annotations

from brokerctl import output
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerctl.helpers import Answer, Helper

_STDIN, _STDOUT = 0, 1
_LINE_BYTES = 1 << 20


def talk(helper: Helper, respond: Callable[[bytes], Answer]) -> int:
    """Greet, and answer line by line until the tool ends it; return the exit code."""
    code = 0
    try:
        output.write_fully(_STDOUT, helper.greeting())
        for line in _lines():
            answer = helper.malformed() if line is None else respond(line)
            if answer.note:
                output.note(answer.note)
            output.write_fully(_STDOUT, answer.stdout)
            code = answer.exit_code
            if line is None:
                break  # where the next request begins is not known
    except OSError:
        return code or 1
    return code


def _lines() -> Iterator[bytes | None]:
    """Yield whole lines without their end; None for one that is too long, and nothing after it."""
    data = b""
    while True:
        line, newline, rest = data.partition(b"\n")
        if newline:
            data = rest
            yield line
            continue
        if len(data) > _LINE_BYTES:
            yield None
            return
        piece = os.read(_STDIN, 65536)
        if not piece:
            if data:
                yield data
            return
        data += piece
