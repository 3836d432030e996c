"""Serves a helper's request: reads it, finds its profile, asks the broker, answers once.

Nothing is printed before the outcome is known, no person is waited for, and everything that happens
is one of the five outcomes. The working folder may be any repository, so it is not trusted.
"""

from __future__ import annotations

import time

from brokerctl import output
from brokerctl.config.hosts import shown_url
from brokerctl.errors import BrokerError, StoreError, UsageError, shell_word
from brokerctl.helpers import (
    BLOCK,
    ERASE,
    FORGET,
    GET,
    HELPERS,
    LINES,
    LIST,
    NAME,
    NOTHING,
    STORE,
    UNKNOWN,
    Credential,
    HelperReply,
    MalformedError,
    complete,
    find_owners,
    load,
)
from brokerctl.home import make_token_request, open_home
from brokerctl.model import NOT_BEARER
from brokerctl.platform.system import os, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerctl.helpers import CredentialRequest, Helper
    from brokerctl.home import Home
    from brokerctl.model import AccessToken, Profile, TokenRequest

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_REQUEST_BYTES = 1 << 20
_WAIT_S = 20.0
_POLL_S = 0.005  # between two reads of a non-blocking stdin
_LINE_BYTES = 1 << 20


def run_words(
    words: list[str], environ: Mapping[str, str], _umask: int | None = None
) -> int | None:
    """Run the words after `helper`; None where they name no helper of the table."""
    if not words or words[0] not in HELPERS:
        return None
    helper = load(words[0])
    traits = helper.traits
    if traits.is_silent:
        _close_stderr()
    if traits.stdin == LINES:
        return talk(helper, lambda line: answer_to(helper, words, line, environ))
    return _write(answer_to(helper, words, None, environ))


def _close_stderr() -> None:
    """Close stderr for us and for libraries, since the tool reads it as part of the answer."""
    nowhere = os.open("/dev/null", os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)


def answer_to(
    helper: Helper, words: list[str], data: bytes | None, environ: Mapping[str, str]
) -> HelperReply:
    """Answer one request, from stdin if `data` is None; the reply is empty if it was written."""
    try:
        request = _read_request(helper.traits.stdin_for(words[1:])) if data is None else data
        wanted = _read(helper, words, request, environ)
        if wanted.reply is not None:
            return wanted.reply
        home = _open(helper, words[0], wanted, environ)
        if isinstance(home, HelperReply):
            return home
        return _answer(home, helper, words[0], wanted)
    except MalformedError as error:
        if not helper.traits.tells_errors:
            output.note(f"not a request of {words[0]}: {error}")
        return _answer_malformed(helper)
    except BrokerError as error:
        return _refuse(helper, error)
    except Exception as error:  # noqa: BLE001 - the last handler: one line, no traceback, no values
        return _refuse(helper, output.unexpected(error, environ))


def _read(
    helper: Helper, words: list[str], request: bytes, environ: Mapping[str, str]
) -> CredentialRequest:
    """Read a request; one that is refused while it is read is recorded, if that is possible."""
    try:
        return helper.read(words[1:], request, environ)
    except BrokerError as error:
        from contextlib import suppress  # noqa: PLC0415 - no hand-out is refused

        with suppress(BrokerError):  # no token is handed out, so it may lack a record
            home = open_home(environ, may_use_memory=True)
            home.broker.record_refusal(make_token_request("", environ, words[0]), error)
        raise


def _answer_malformed(helper: Helper) -> HelperReply:
    from brokerctl.helpers.outcomes import Malformed  # noqa: PLC0415 - no warm hand-out needs it

    return helper.answer(Malformed())


def _refuse(helper: Helper, error: BrokerError) -> HelperReply:
    from brokerctl.helpers.outcomes import refused_by  # noqa: PLC0415 - as above

    if not helper.traits.tells_errors:
        output.print_error(error)
    return helper.answer(refused_by(error))


def _answer(home: Home, helper: Helper, tool: str, wanted: CredentialRequest) -> HelperReply:
    if wanted.action == LIST:
        from brokerctl.helpers.answers_without_token import answer_list  # noqa: PLC0415 - no hand-out lists

        return answer_list(home, helper, tool)

    def asked(name: str = wanted.profile or "") -> TokenRequest:
        return make_token_request(name, home.environ, tool, wanted.url)

    with _Recorded(home, asked):
        wanted, found = find_owners(helper, wanted, home.plan.profiles)
    if wanted.action in {ERASE, FORGET, STORE}:
        from brokerctl.helpers.answers_without_token import answer_change  # noqa: PLC0415 - no hand-out is one

        requests = [asked(profile.name).replace(url=None) for profile in found]
        return answer_change(home, helper, tool, wanted, requests)
    if not found:
        from brokerctl.helpers.answers_without_token import answer_none  # noqa: PLC0415 - as in _open

        kept = _find_kept(home, helper, tool, wanted)
        return kept or answer_none(home, helper, wanted, asked)
    with _Recorded(home, asked):
        profile = _only(found, wanted)
    if wanted.action == NAME:
        from brokerctl.helpers.answers_without_token import answer_name  # noqa: PLC0415 - as above

        return answer_name(helper, wanted, profile)
    request = asked(profile.name)
    with _Recorded(home, lambda: request):
        request = complete(helper, request, wanted, profile, home.environ)
    token = home.broker.get(request)
    return _deliver(home, helper, Credential(request=wanted, token=token, profile=profile))


def _open(
    helper: Helper, tool: str, wanted: CredentialRequest, environ: Mapping[str, str]
) -> Home | HelperReply:
    """Open the home; if that fails, return the answer that is possible without it."""
    try:
        return open_home(environ, may_use_memory=True)
    except BrokerError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - a bug of ours is no reason to stop the next helper
        failure = output.unexpected(error, environ)
    from brokerctl.helpers.answers_without_token import answer_unopened  # noqa: PLC0415 - a hand-out is somebody's

    return answer_unopened(helper, tool, wanted, failure, environ)


class _Recorded:
    """Records a BrokerError raised in its block, as the broker does for its own refusals."""

    def __init__(self, home: Home, asked: Callable[[], TokenRequest]) -> None:
        self._home = home
        self._asked = asked

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _: object, error: object, __: object) -> None:
        """Record a refusal."""
        if isinstance(error, BrokerError):
            self._home.broker.record_refusal(self._asked(), error)


def _only(found: list[Profile], wanted: CredentialRequest) -> Profile:
    """Return the only profile; UsageError if there are several."""
    if len(found) > 1:
        names = " and ".join(sorted(f"'{profile.name}'" for profile in found))
        hint = "give one of them a path, or a username that the URL has too"
        url = shown_url(wanted.url or "")
        raise UsageError(f"{url} belongs to {names}", hint=hint)
    return found[0]


def _find_kept(
    home: Home, helper: Helper, tool: str, wanted: CredentialRequest
) -> HelperReply | None:
    """Answer with a credential of the tool's own; None if there is none, as by default."""
    if tool not in home.plan.keep or wanted.action != GET:
        return None
    from brokerctl.helpers.custody import hand_out  # noqa: PLC0415 - nothing is, by default

    try:
        return hand_out(home, helper, tool, wanted)
    except StoreError as error:  # kept credentials can't be read: this place may have none
        output.warn(error.message + UNKNOWN)
        return None


def _deliver(home: Home, helper: Helper, found: Credential) -> HelperReply:
    """Write a credential in full, or record that it was not delivered."""
    token = found.token
    is_left = False  # it is in a file, so it was delivered whatever stdout does
    try:
        _refuse_kind(helper, token)
        answer = helper.answer(found)
        if answer.file:
            from brokerctl.helpers.output_file import leave  # noqa: PLC0415 - one tool wants a file

            leave(answer.file, answer.stdout)
            is_left = True
        for text in home.notices(token):
            output.warn(text)
        output.write_fully(_STDOUT, answer.stdout)
    except Exception as error:  # for any error the record says that nothing was delivered
        if not is_left:
            home.broker.not_delivered(token)
        if isinstance(error, OSError):
            raise BrokerError("the credential could not be written to stdout") from error
        raise
    return answer.replace(stdout=b"")


def _refuse_kind(helper: Helper, token: AccessToken) -> None:
    """Raise UsageError for a token that is not of the kind that the tool takes."""
    takes_bearer = helper.traits.takes_bearer
    if takes_bearer == (token.token_type == NOT_BEARER):
        what = "a bearer token" if takes_bearer else "a role's credentials"
        raise UsageError(
            f"the tool takes {what}, and '{token.profile}' gets something else",
            hint=f"name another profile: 'brokerctl profile show {shell_word(token.profile)}'",
        )


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
        if len(data) > _REQUEST_BYTES:
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
