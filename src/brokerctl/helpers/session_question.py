"""A helper in a session: it asks the supervisor, since there may be no configuration or key here.

The supervisor runs the tool's protocol with our words, with stdin and with the variables that the
protocol reads. What only this side can see is found here: whether the tool's own settings switch
certificate checks off. What is only of use here is done here: the file that one tool wants.
"""

from __future__ import annotations

from brokerctl import jsonlite, output
from brokerctl.errors import BrokerError, UsageError
from brokerctl.helpers import GET, HELPERS, HelperReply, tool_streams
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from brokerctl.helpers import CredentialRequest, Helper

_SCHEMA = 1
_MAX_WORDS = 64
_UNCHECKED_CHARS = 4096  # a path


class HelperQuestion(Value):
    """What a tool in a session asks of us: all that its helper reads."""

    words: tuple[str, ...]  # the tool, and what it calls its helper with
    stdin: bytes = b""
    environ: Mapping[str, str]  # what `HelperTraits.variables` names
    unchecked: str | None = None  # the setting by which the tool checks no certificate


class SessionReply(Value):
    """What the tool is told, and what people are."""

    stdout: bytes
    exit_code: int
    lines: tuple[str, ...] = ()  # for stderr, without line ends and colour
    file: str | None = None  # where the tool wants its stdout stored too


def run_words(
    words: list[str],
    environ: Mapping[str, str],
    ask: Callable[[HelperQuestion], SessionReply],
) -> int | None:
    """Run the words after `helper` by asking; None where they name no helper of the table.

    `ask` raises BrokerError where no answer is to be had: the tool is told so in its own way.
    """
    if not words or words[0] not in HELPERS:
        return None

    def respond(helper: Helper, words: list[str], request: bytes) -> HelperReply:
        found = make_question(helper, words, request, environ)
        return found if isinstance(found, HelperReply) else _carry_out(found, ask(found))

    return tool_streams.run(words, environ, respond)


def make_question(
    helper: Helper, words: list[str], request: bytes, environ: Mapping[str, str]
) -> HelperQuestion | HelperReply:
    """Return what is asked, or the reply where nothing need be asked; raises MalformedError."""
    said = helper.traits.variables_of(environ)
    question = HelperQuestion(words=tuple(words), stdin=request, environ=said)
    try:
        wanted = helper.read(words[1:], request, said)
    except BrokerError:
        return question  # the supervisor refuses it too, and records that
    if wanted.reply is not None:
        return wanted.reply
    return question.replace(unchecked=_find_unchecked(helper, wanted, environ))


def _find_unchecked(
    helper: Helper, wanted: CredentialRequest, environ: Mapping[str, str]
) -> str | None:
    find = helper.traits.unchecked
    return find(wanted, environ) if find and wanted.action == GET else None


def _carry_out(question: HelperQuestion, reply: SessionReply) -> HelperReply:
    """Write what is not for stdout; UsageError if the tool's file can't be written."""
    for line in reply.lines:
        output.repeat(line)
    if reply.file is not None:
        from brokerctl.helpers.output_file import leave  # noqa: PLC0415 - one tool wants a file

        if reply.file not in question.environ.values():
            raise UsageError("the answer is for a file that the tool has not named")
        leave(reply.file, reply.stdout)
    return HelperReply(stdout=reply.stdout, exit_code=reply.exit_code)


def render_question(question: HelperQuestion) -> bytes:
    """Render a question as JSON: what may be any bytes has a character for each byte."""
    said = {_chars(name): _chars(value) for name, value in question.environ.items()}
    unchecked = question.unchecked
    return _render(
        {
            "words": [_chars(word) for word in question.words],
            "stdin": question.stdin.decode("latin-1"),
            "environ": said,
            "unchecked": None if unchecked is None else _chars(unchecked),
        }
    )


def parse_question(data: bytes) -> HelperQuestion:
    """Return a question; UsageError for what is none."""
    found = _parse(data)
    words, said, unchecked = found.get("words"), found.get("environ"), found.get("unchecked", 0)
    if not isinstance(words, list) or not isinstance(said, dict) or len(words) > _MAX_WORDS:
        raise UsageError("it has no words, or no variables")
    texts = tuple(map(_text, words))
    if not texts or texts[0] not in HELPERS:
        raise UsageError("it names no helper")
    if not isinstance(unchecked, str | None) or len(unchecked or "") > _UNCHECKED_CHARS:
        raise UsageError("it does not say whether certificates are checked")
    return HelperQuestion(
        words=texts,
        stdin=_bytes(found.get("stdin")),
        environ={_text(name): _text(value) for name, value in said.items()},
        unchecked=None if unchecked is None else _text(unchecked),
    )


def render_reply(reply: SessionReply) -> bytes:
    """Render a reply as JSON. Security: this is where a token becomes text."""
    return _render(
        {
            "stdout": reply.stdout.decode("latin-1"),
            "exit_code": reply.exit_code,
            "lines": [_chars(line) for line in reply.lines],
            "file": None if reply.file is None else _chars(reply.file),
        }
    )


def parse_reply(data: bytes) -> SessionReply:
    """Return a reply; UsageError for what is none."""
    found = _parse(data)
    code, lines, file = found.get("exit_code"), found.get("lines"), found.get("file")
    if not isinstance(code, int) or not isinstance(lines, list):
        raise UsageError("it has no exit code, or no lines")
    return SessionReply(
        stdout=_bytes(found.get("stdout")),
        exit_code=code,
        lines=tuple(map(_text, lines)),
        file=None if file is None else _text(file),
    )


def _render(members: dict[str, object]) -> bytes:
    return jsonlite.dumps({"schema": _SCHEMA, **members}).encode()


def _parse(data: bytes) -> dict[str, Any]:
    try:
        found = jsonlite.loads(data)
    except ValueError as error:
        raise UsageError("it is not JSON") from error
    if not isinstance(found, dict) or found.get("schema") != _SCHEMA:
        raise UsageError("it is of another version of brokerctl")
    return found


def _chars(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _bytes(chars: object) -> bytes:
    try:
        return chars.encode("latin-1") if isinstance(chars, str) else _no_text()
    except UnicodeEncodeError as error:
        raise UsageError("a text in it holds more than bytes") from error


def _text(chars: object) -> str:
    return _bytes(chars).decode("utf-8", "surrogateescape")


def _no_text() -> bytes:
    raise UsageError("a text is missing")
