"""Serves a helper's request: reads it, finds its profile, asks the broker, answers once.

No person is waited for, and everything that happens is one of the five outcomes. The working folder
may be any repository, so it is not trusted. Who is answered is an argument: the tool that started
this process, or a process in a session (`session_answer`).
"""

from __future__ import annotations

from brokerctl import output
from brokerctl.config.hosts import shown_url
from brokerctl.errors import BrokerError, StoreError, UsageError, shell_word
from brokerctl.helpers import (
    ERASE,
    FORGET,
    GET,
    HELPERS,
    LIST,
    NAME,
    STORE,
    UNKNOWN,
    Credential,
    HelperReply,
    complete,
    find_owners,
    tool_streams,
)
from brokerctl.home import open_home
from brokerctl.model import NOT_BEARER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.helpers import Caller, CredentialRequest, Helper
    from brokerctl.home import Home
    from brokerctl.model import AccessToken, Profile, TokenRequest

_STDOUT = 1


def run_words(
    words: list[str], environ: Mapping[str, str], _umask: int | None = None
) -> int | None:
    """Run the words after `helper`; None where they name no helper of the table."""
    if not words or words[0] not in HELPERS:
        return None
    return tool_streams.run(words, environ, responder(environ))


def responder(environ: Mapping[str, str]) -> tool_streams.Respond:
    """Return what answers the tool that has started this process, by its words and its request."""
    caller = ParentProcess(environ)
    return lambda helper, words, request: answer(caller, helper, words, request)


class ParentProcess:
    """The tool that has started this process: it reads our stdout, and its files are seen here."""

    __slots__ = ("environ",)

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def open_home(self) -> Home:
        """Open the home of this process."""
        return open_home(self.environ, may_use_memory=True)

    def answer_unopened(
        self, helper: Helper, tool: str, wanted: CredentialRequest, error: BrokerError
    ) -> HelperReply:
        """Answer by the configuration alone."""
        from brokerctl.helpers.answers_without_token import answer_unopened  # noqa: PLC0415 - a hand-out is somebody's

        return answer_unopened(helper, tool, wanted, error, self.environ)

    def find_unchecked(self, helper: Helper, wanted: CredentialRequest) -> str | None:
        """Look at its variables and its files."""
        unchecked = helper.traits.unchecked
        return unchecked(wanted, self.environ) if unchecked else None

    def leave_file(self, reply: HelperReply) -> bool:
        """Write the file, if the tool wants one."""
        if not reply.file:
            return False
        from brokerctl.helpers.output_file import leave  # noqa: PLC0415 - one tool wants a file

        leave(reply.file, reply.stdout)
        return True

    def deliver(self, reply: HelperReply) -> None:
        """Write to stdout; `tool_streams` writes the note."""
        output.write_fully(_STDOUT, reply.stdout)


def answer(caller: Caller, helper: Helper, words: list[str], request: bytes) -> HelperReply:
    """Answer one request; the reply is empty if it was delivered.

    Raises MalformedError or BrokerError, which `tool_streams.guarded` makes an answer of.
    """
    wanted = _read(caller, helper, words, request)
    if wanted.reply is not None:
        return wanted.reply
    home = _open(caller, helper, words[0], wanted)
    if isinstance(home, HelperReply):
        return home
    return _answer(caller, home, helper, words[0], wanted)


def _read(caller: Caller, helper: Helper, words: list[str], request: bytes) -> CredentialRequest:
    """Read a request; one that is refused while it is read is recorded, if that is possible."""
    try:
        return helper.read(words[1:], request, helper.traits.variables_of(caller.environ))
    except BrokerError as error:
        from contextlib import suppress  # noqa: PLC0415 - no hand-out is refused

        with suppress(BrokerError):  # no token is handed out, so it may lack a record
            home = caller.open_home()
            home.broker.record_refusal(home.make_request("", words[0]), error)
        raise


def _answer(
    caller: Caller, home: Home, helper: Helper, tool: str, wanted: CredentialRequest
) -> HelperReply:
    if wanted.action == LIST:
        from brokerctl.helpers.answers_without_token import answer_list  # noqa: PLC0415 - no hand-out lists

        return answer_list(caller, home, helper, tool)

    def asked(name: str = wanted.profile or "") -> TokenRequest:
        return home.make_request(name, tool, wanted.url)

    with _Recorded(home, asked):
        wanted, found = find_owners(helper, wanted, home.offered)
    if wanted.action in {ERASE, FORGET, STORE}:
        from brokerctl.helpers.answers_without_token import answer_change  # noqa: PLC0415 - no hand-out is one

        requests = [asked(profile.name).replace(url=None) for profile in found]
        return answer_change(home, helper, tool, wanted, requests)
    if not found:
        from brokerctl.helpers.answers_without_token import answer_none  # noqa: PLC0415 - as in _open

        kept = _find_kept(caller, home, helper, tool, wanted)
        return kept or answer_none(home, helper, wanted, asked)
    with _Recorded(home, asked):
        profile = _only(found, wanted)
    if wanted.action == NAME:
        from brokerctl.helpers.answers_without_token import answer_name  # noqa: PLC0415 - as above

        return answer_name(helper, wanted, profile)
    request = asked(profile.name)
    with _Recorded(home, lambda: request):
        request = complete(caller, helper, request, wanted, profile)
    token = home.get_token(request)
    return _deliver(caller, home, helper, Credential(request=wanted, token=token, profile=profile))


def _open(
    caller: Caller, helper: Helper, tool: str, wanted: CredentialRequest
) -> Home | HelperReply:
    """Open the home; if that fails, return the answer that is possible without it."""
    try:
        return caller.open_home()
    except BrokerError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - a bug of ours is no reason to stop the next helper
        failure = output.unexpected(error, caller.environ)
    return caller.answer_unopened(helper, tool, wanted, failure)


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
    caller: Caller, home: Home, helper: Helper, tool: str, wanted: CredentialRequest
) -> HelperReply | None:
    """Answer with a credential of the tool's own; None if there is none, as by default."""
    if tool not in home.kept_for or wanted.action != GET:
        return None
    from brokerctl.helpers.custody import hand_out  # noqa: PLC0415 - nothing is, by default

    try:
        return hand_out(caller, home, helper, tool, wanted)
    except StoreError as error:  # kept credentials can't be read: this place may have none
        output.warn(error.message + UNKNOWN)
        return None


def _deliver(caller: Caller, home: Home, helper: Helper, found: Credential) -> HelperReply:
    """Deliver a credential in full, or record that it was not delivered."""
    token = found.token
    is_left = False  # it is in a file, so it was delivered whatever stdout does
    try:
        _refuse_kind(helper, token)
        reply = helper.answer(found)
        is_left = caller.leave_file(reply)
        for text in home.notices(token):
            output.warn(text)
        caller.deliver(reply)
    except Exception as error:  # for any error the record says that nothing was delivered
        if not is_left:
            home.broker.not_delivered(token)
        if isinstance(error, OSError):
            raise BrokerError("the credential could not be written to stdout") from error
        raise
    return reply.replace(stdout=b"")


def _refuse_kind(helper: Helper, token: AccessToken) -> None:
    """Raise UsageError for a token that is not of the kind that the tool takes."""
    takes_bearer = helper.traits.takes_bearer
    if takes_bearer == (token.token_type == NOT_BEARER):
        what = "a bearer token" if takes_bearer else "a role's credentials"
        raise UsageError(
            f"the tool takes {what}, and '{token.profile}' gets something else",
            hint=f"name another profile: 'brokerctl profile show {shell_word(token.profile)}'",
        )
