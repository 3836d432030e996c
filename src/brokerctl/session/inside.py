"""Inside a session: `get`, `exec` and helpers ask the session's socket in place of a home.

There may be neither configuration, store nor key here. The session's supervisor decides what is
asked; a command that asks for something else than a token is refused here.
"""

from __future__ import annotations

import time

from brokerctl import get, jsonlite, output
from brokerctl.config.paths import SOCKET_VARIABLE
from brokerctl.errors import BrokerError, DeniedError, IssuerError
from brokerctl.model import Profile
from brokerctl.session.socket_client import (
    ask,
    error_of,
    exchange,
    profiles_of,
    read_token,
    token_target,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.get import GetOptions
    from brokerctl.helpers.session_question import HelperQuestion, SessionReply
    from brokerctl.model import AccessToken

_GIVEN = ("get", "exec", "helper")
_HELP = ("--help", "-h", "--version")


def run_words(words: list[str], environ: Mapping[str, str], umask: int | None = None) -> int | None:
    """Run a command line in a session; None where the full program explains what is wrong."""
    try:
        if not words or any(word in _HELP for word in words[:2]):
            return None
        if words[0] == "get":
            options = get.parse_get(words[1:], environ.get("BROKERCTL_PROFILE"))
            return None if options is None else run_get(options, environ)
        if words[0] == "exec":
            from brokerctl.session import start  # noqa: PLC0415 - the commonest is `get`

            return start.run_words(words[1:], environ, umask)
        code = _run_helper(words[1:], environ) if words[0] == "helper" else None
        if code is None:
            raise refused(" ".join(words[: 2 if words[0] == "helper" else 1]))
    except BrokerError as error:
        return output.print_error(error, is_json="--json" in words)
    return code


def refused(command: str) -> DeniedError:
    """Return the refusal of a command that a session does not have."""
    return DeniedError(f"a session has no '{command}': {', '.join(_GIVEN)} alone are there")


def run_get(options: GetOptions, environ: Mapping[str, str]) -> int:
    """Get one token from the session and print it, or print the error; return the exit code."""
    is_json = options.form == "json"
    try:
        answer = ask(environ, "GET", target_of(options))
        token = read_token(answer)
        profile = _profile(environ, token) if options.form in {"env", "netrc"} else None
        line = _render(answer, token, profile, options.form)
        output.write_fully(1, line)
    except BrokerError as error:
        return output.print_error(error, is_json=is_json)
    except OSError:
        text = "the token could not be written to stdout"
        return output.print_error(BrokerError(text), is_json=is_json)
    return 0


def _render(
    answer: dict[str, Any], token: AccessToken, profile: Profile | None, form: str
) -> bytes:
    if form == "json":
        return jsonlite.dumps(answer).encode("ascii") + b"\n"
    shown = Profile(name=token.profile, issuer=token.issuer, flow="", client_id="")
    return get.render(token, shown if profile is None else profile, form, time.time())


def _profile(environ: Mapping[str, str], token: AccessToken) -> Profile:
    """Return what the session says of a token's profile."""
    found = ask(environ, "GET", "/")["profiles"]
    return profiles_of(found)[token.profile]


def target_of(options: GetOptions) -> str:
    """Return the path and query of a request for a token."""
    if options.subject is not None:
        raise DeniedError("a session is for one subject, which it was started with")
    pairs = [("scope", " ".join(options.scopes))] if options.scopes is not None else []
    pairs += [("resource", one) for one in options.resource or ()]
    pairs += [("audience", one) for one in options.audience or ()]
    if options.min_ttl_s is not None:
        pairs.append(("min_ttl", f"{int(options.min_ttl_s)}s"))
    if options.is_fresh:
        pairs.append(("fresh", "1"))
    if options.purpose:
        pairs.append(("purpose", options.purpose))
    if options.url is not None:
        pairs.append(("for", options.url))
    return token_target(options.profile, pairs)


def _run_helper(words: list[str], environ: Mapping[str, str]) -> int | None:
    """Run the words after `helper`; None where they name no helper."""
    from brokerctl.helpers import session_question  # noqa: PLC0415 - a helper's

    def ask_helper(question: HelperQuestion) -> SessionReply:
        data = session_question.render_question(question)
        status, body = exchange(environ[SOCKET_VARIABLE], "POST", "/helper", data)
        if status == 200:  # noqa: PLR2004 - the status OK
            return session_question.parse_reply(body)
        try:
            error = error_of(status, jsonlite.loads(body)["error"])
        except (ValueError, KeyError, TypeError) as problem:
            raise IssuerError("the session's socket answers with something else") from problem
        raise error

    return session_question.run_words(words, environ, ask_helper)
