"""The streams of a helper that a tool runs: its request from stdin, our answer to stdout.

What answers is an argument: this process itself, or the supervisor of the session that it is in.
Nothing is printed before the outcome is known.
"""

from __future__ import annotations

import time

from brokerctl import output
from brokerctl.errors import BrokerError
from brokerctl.helpers import BLOCK, LINES, NOTHING, MalformedError, load
from brokerctl.platform.system import os, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerctl.helpers import Helper, HelperReply

    Respond = Callable[[Helper, list[str], bytes], HelperReply]

REQUEST_BYTES = 1 << 20
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_WAIT_S = 20.0
_POLL_S = 0.005  # between two reads of a non-blocking stdin
_LINE_BYTES = 1 << 20


def run(words: list[str], environ: Mapping[str, str], respond: Respond) -> int:
    """Answer the tool whose name is the first word; return the exit code of its protocol."""
    helper = load(words[0])
    traits = helper.traits
    if traits.is_silent:
        _close_stderr()
    if traits.stdin == LINES:
        return talk(helper, lambda line: answer_to(helper, words, line, environ, respond))
    return _write(answer_to(helper, words, None, environ, respond))


def _close_stderr() -> None:
    """Close stderr for us and for libraries, since the tool reads it as part of the answer."""
    nowhere = os.open("/dev/null", os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)


def answer_to(
    helper: Helper,
    words: list[str],
    data: bytes | None,
    environ: Mapping[str, str],
    respond: Respond,
) -> HelperReply:
    """Answer one request, from stdin if `data` is None; the reply is empty if it was written."""

    def answer() -> HelperReply:
        request = _read_request(helper.traits.stdin_for(words[1:])) if data is None else data
        return respond(helper, words, request)

    return guarded(helper, words[0], environ, answer)


def guarded(
    helper: Helper, tool: str, environ: Mapping[str, str], answer: Callable[[], HelperReply]
) -> HelperReply:
    """Return an answer; if it raises, the tool's answer to that error, which people are told."""
    try:
        return answer()
    except MalformedError as error:
        if not helper.traits.tells_errors:
            output.note(f"not a request of {tool}: {error}")
        return _answer_malformed(helper)
    except BrokerError as error:
        return _refuse(helper, error)
    except Exception as error:  # noqa: BLE001 - the last handler: one line, no traceback, no values
        return _refuse(helper, output.unexpected(error, environ))


def _answer_malformed(helper: Helper) -> HelperReply:
    from brokerctl.helpers.outcomes import Malformed  # noqa: PLC0415 - no warm hand-out needs it

    return helper.answer(Malformed())


def _refuse(helper: Helper, error: BrokerError) -> HelperReply:
    from brokerctl.helpers.outcomes import refused_by  # noqa: PLC0415 - as above

    if not helper.traits.tells_errors:
        output.print_error(error)
    return helper.answer(refused_by(error))


def _read_request(how: str, wait_s: float = _WAIT_S) -> bytes:
    """Read up to an empty line (BLOCK) or the end (ALL); MalformedError if neither comes.

    Size and time are limited for every sender. The kernel's timer ends the wait: it works for any
    kind of stdin, and `select` would be one more module. A later alarm would interrupt a request to
    the issuer, so timer and handler are restored here.
    """
    if how == NOTHING:
        return b""
    begun, alarm = time.monotonic(), {signals.SIGALRM}
    left_s, again_s = signals.setitimer(signals.ITIMER_REAL, 0)
    before = signals.signal(signals.SIGALRM, _stop_waiting)
    mask = signals.pthread_sigmask(signals.SIG_UNBLOCK, alarm)
    try:
        signals.setitimer(signals.ITIMER_REAL, min(wait_s, left_s or wait_s))
        return _read_up_to_end(how)
    finally:
        signals.setitimer(signals.ITIMER_REAL, 0)
        signals.pthread_sigmask(signals.SIG_SETMASK, mask)
        signals.signal(signals.SIGALRM, before if before is not None else signals.SIG_DFL)
        if left_s:  # the caller's own timer, which survives execve(2)
            passed_s = time.monotonic() - begun
            signals.setitimer(signals.ITIMER_REAL, max(left_s - passed_s, 0.001), again_s)


def _stop_waiting(*_: object) -> None:
    raise MalformedError("it does not end")


def _read_up_to_end(how: str) -> bytes:
    data = b""
    while not (how == BLOCK and (data.endswith(b"\n\n") or data == b"\n")):
        try:
            piece = os.read(_STDIN, 65536)
        except BlockingIOError:
            time.sleep(_POLL_S)
            continue
        except OSError:
            break  # stdin was closed: there is no request
        if not piece:
            break
        data += piece
        if len(data) > REQUEST_BYTES:
            raise MalformedError("it is too long")
    return data


def _write(answer: HelperReply) -> int:
    if answer.note:
        output.note(answer.note)
    try:
        output.write_fully(_STDOUT, answer.stdout)
    except OSError:
        return answer.exit_code or 1
    return answer.exit_code


def talk(helper: Helper, respond: Callable[[bytes], HelperReply]) -> int:
    """Write the greeting, and answer line by line until stdin ends; return the exit code."""
    code = 0
    try:
        output.write_fully(_STDOUT, helper.traits.greeting)
        for line in _lines():
            answer = _answer_malformed(helper) if line is None else respond(line)
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
    """Yield lines without their newline; None for one that is too long, and then no more."""
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
