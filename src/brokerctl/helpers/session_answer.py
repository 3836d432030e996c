"""Answers a helper in a session, in the supervisor's own process, in any thread.

It is the same code that answers a tool outside of a session. It reads no stdin, writes to neither
stdout nor stderr, and changes nothing of the process: what people are told is part of the reply.
"""

from __future__ import annotations

from brokerctl import output
from brokerctl.helpers import MalformedError, load, serve
from brokerctl.helpers.session_question import SessionReply
from brokerctl.helpers.tool_streams import REQUEST_BYTES, guarded
from brokerctl.platform.system import read_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from brokerctl.errors import BrokerError
    from brokerctl.helpers import CredentialRequest, Helper, HelperReply
    from brokerctl.helpers.session_question import HelperQuestion
    from brokerctl.home import Home


def answer_question(
    question: HelperQuestion,
    open_home: Callable[[], Home],
    send: Callable[[SessionReply], None],
) -> bool:
    """Answer by one call of `send`; return whether the reply was sent in full.

    `open_home` returns a Home that no other thread uses meanwhile, with the terms of the session,
    or raises BrokerError: then the tool is refused. `send` raises OSError where the client does
    not get the whole reply: a token in it is then recorded as not delivered.
    """
    tool = question.words[0]
    helper = load(tool)
    with output.Collected() as lines:
        client = _Client(question, open_home, send, lines)

        def answer() -> HelperReply:
            if len(question.stdin) > REQUEST_BYTES:
                raise MalformedError("it is too long")
            return serve.answer(client, helper, list(question.words), question.stdin)

        reply = guarded(helper, tool, read_environ(), answer)
        if client.is_sent is None:
            try:
                client.deliver(reply)
            except OSError:
                return False
    return client.is_sent is True


class _Client:
    """A helper in the session, which has sent a question: its files are not seen from here."""

    def __init__(
        self,
        question: HelperQuestion,
        open_home: Callable[[], Home],
        send: Callable[[SessionReply], None],
        lines: list[str],
    ) -> None:
        self.environ = question.environ
        self.open_home = open_home
        self.is_sent: bool | None = None  # False: it failed; None: not tried
        self._unchecked = question.unchecked
        self._send = send
        self._lines = lines

    def answer_unopened(
        self, _: Helper, _tool: str, _wanted: CredentialRequest, error: BrokerError
    ) -> NoReturn:
        """Raise the error: whose a host is would be told by what is outside of the session."""
        raise error

    def find_unchecked(self, _: Helper, wanted: CredentialRequest) -> str | None:
        """Return what the client found; it looked at the first reading of an address alone."""
        is_other = wanted.otherwise is not None and wanted.url == wanted.otherwise
        return None if is_other else self._unchecked

    def leave_file(self, _: HelperReply) -> bool:
        """Return False: the client writes it, with its own rights, where it can be read."""
        return False

    def deliver(self, reply: HelperReply) -> None:
        """Send the reply with the lines for people; raises what `send` raises."""
        if reply.note:
            output.note(reply.note)
        self.is_sent = False
        self._send(
            SessionReply(
                stdout=reply.stdout,
                exit_code=reply.exit_code,
                lines=tuple(self._lines),
                file=reply.file,
            )
        )
        self.is_sent = True
