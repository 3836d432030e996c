"""Writes to stdout in full, and to stderr for people: the two error lines, notes, colour.

Colour is used on a terminal only, and never with NO_COLOR or CI set, or with TERM=dumb. All output
can be understood without it.
"""

from __future__ import annotations

import errno
from _thread import get_ident

from brokerctl import jsonlite
from brokerctl.errors import BrokerError
from brokerctl.platform.system import os, read_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LABELS = {"error": "bad", "hint": "hint", "warning": "care", "note": "title"}
_STYLES = {
    "good": "32",
    "care": "33",
    "bad": "1;31",
    "hint": "36",
    "title": "1",
}
_STDERR = 2
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)  # not a bug of ours
_MESSAGE_CHARS = 400  # a slot's path may take half of it, before the reason
_HINT_CHARS = 5000  # only our own text; a command that is cut is useless
_collected: dict[int, list[str]] = {}  # by thread: its lines for people, which go elsewhere


class Collected:
    """Collects what this thread writes for people while a block runs, in place of stderr.

    A supervisor answers a process of its session in a thread: the lines are for that process.
    """

    __slots__ = ("_before", "lines")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._before: list[str] | None = None

    def __enter__(self) -> list[str]:
        """Begin, and return the list that the lines are put in."""
        self._before = _collected.get(get_ident())
        _collected[get_ident()] = self.lines
        return self.lines

    def __exit__(self, *_: object) -> None:
        """Let the lines go where they went before."""
        if self._before is None:
            del _collected[get_ident()]
        else:
            _collected[get_ident()] = self._before


def has_terminal() -> bool:
    """Return whether what this thread writes for people is seen on a terminal."""
    return not (_collected and get_ident() in _collected) and os.isatty(_STDERR)


def is_wanted(fd: int) -> bool:
    """Return whether what is written to `fd` may be coloured."""
    if not (has_terminal() if fd == _STDERR else os.isatty(fd)):
        return False
    environ = read_environ()
    if environ.get("NO_COLOR") or environ.get("CI"):
        return False
    return environ.get("TERM", "dumb") not in {"", "dumb"}


def paint(text: str, style: str, *, is_on: bool) -> str:
    """Return our own text in a style, or as it is. Foreign text must be made safe before."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if is_on else text


def label(word: str, fd: int) -> str:
    """Return the beginning of a line for people: `brokerctl: error:` and similar."""
    return f"brokerctl: {paint(f'{word}:', _LABELS[word], is_on=is_wanted(fd))}"


def write_fully(fd: int, data: bytes, wait_s: float | None = 20) -> None:
    """Write every byte, waiting where a non-blocking stream is full; raises OSError.

    `wait_s` is for each piece; None: as long as it takes.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            import select

            if not select.select([], [fd], [], wait_s)[1]:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None


def write_line(fd: int, text: str) -> None:
    """Write one line for people; an error is ignored, as of a stream that is closed."""
    if _collected and fd == _STDERR and get_ident() in _collected:
        _collected[get_ident()].append(text)
        return
    try:
        write_fully(fd, text.encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        return


def note(text: str) -> None:
    """Write a note on stderr."""
    _tell("note", text, _HINT_CHARS)


def warn(text: str) -> None:
    """Write a warning on stderr."""
    _tell("warning", text)


def _tell(word: str, text: str, limit: int = _MESSAGE_CHARS) -> None:
    """Write one line for people; on a terminal its first word may be coloured."""
    from brokerctl.text import safe

    begin = f"brokerctl: {word}:"
    if has_terminal():
        begin = label(word, _STDERR)
    write_line(_STDERR, f"{begin} {safe(text, limit)}")


def repeat(line: str) -> None:
    """Write a line that another process of ours made for people, coloured as one of our own."""
    ours, _, rest = line.partition(": ")
    word, colon, text = rest.partition(": ")
    if ours == "brokerctl" and colon and word in _LABELS and has_terminal():
        line = f"{label(word, _STDERR)} {text}"
    write_line(_STDERR, line)


def print_error(error: BrokerError, *, is_json: bool = False) -> int:
    """Print two lines, or one JSON object, on stderr; return the exit code."""
    hint = error.hint or error.usual_hint
    if is_json:
        body: dict[str, object] = {
            "code": error.exit_code,
            "name": error.name,
            "message": error.message,
            "hint": hint,
        }
        if error.rule is not None:
            body["rule"] = error.rule
        write_line(_STDERR, jsonlite.dumps({"schema": 1, "error": body}))
    else:
        _tell("error", error.message)
        if hint:
            _tell("hint", hint, _HINT_CHARS)
    return error.exit_code


def unexpected(error: Exception, environ: Mapping[str, str]) -> BrokerError:
    """Wrap a bug: its kind and place, never its values (they may hold a secret)."""
    if isinstance(error, MemoryError):
        return BrokerError("not enough memory")
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        return BrokerError(os.strerror(error.errno).lower(), hint="look at 'ulimit -a'")
    place = ""
    step = error.__traceback__
    while environ.get("BROKERCTL_DEBUG") and step is not None:
        code = step.tb_frame.f_code
        place += f" {code.co_filename.rpartition('/')[2]}:{step.tb_lineno}"
        step = step.tb_next
    return BrokerError(
        f"unexpected {type(error).__name__}{place}",
        hint="this is a bug; BROKERCTL_DEBUG=1 shows where, without values",
    )
