"""`brokerctl exec`: run a command with short-lived tokens of its own."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from brokerctl import hot
from brokerctl.errors import UsageError
from brokerctl.session import Ask, door
from brokerctl.session.parse import parse_pairs


def register(app: typer.Typer) -> None:
    """Add the command; what follows the first word that is no option is the child's."""
    app.command("exec", context_settings={"allow_interspersed_args": False})(exec_)


def exec_(
    context: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(help="The command and its words.")] = None,
    profile: Annotated[
        list[str] | None, typer.Option("--profile", "-p", help="A profile; repeat for more.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PROFILE", help="Its token in this variable.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PROFILE", help="Its token in a private file, the path in NAME."),
    ] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Narrow to this scope.")] = None,
    ttl: Annotated[str | None, typer.Option(help="No longer than this: 15m, 1h.")] = None,
    min_ttl: Annotated[str | None, typer.Option(help="At least this long left: 90s, 5m.")] = None,
    purpose: Annotated[str | None, typer.Option(help="Why; goes into the record.")] = None,
    revoke: Annotated[
        bool | None,
        typer.Option("--revoke/--keep", help="Tokens of its own, ended with it; or shared ones."),
    ] = None,
    mask: Annotated[bool | None, typer.Option(help="Star its tokens out; on in CI logs.")] = None,
    clean_env: Annotated[
        bool, typer.Option("--clean-env", help="Inherit nothing but the usual few variables.")
    ] = False,
) -> int:
    """Run a command with tokens in its environment or in private files.

    The exit code is the command's; 128+n if signal n ended it, 126 and 127 if it can't be run.

    \b
      brokerctl exec -p gitlab -- glab issue list
      brokerctl exec --file TOKEN_FILE=payments --scope refund -- ./refund.sh
    """
    if not command or not command[0]:
        raise UsageError("no command given", hint="run 'brokerctl exec -p PROFILE -- COMMAND'")
    ask = Ask(
        command=tuple(command),
        profiles=tuple(profile or ()),
        env=parse_pairs("--env", {"--env": env or []}),
        files=parse_pairs("--file", {"--file": file or []}),
        scopes=hot.split_scopes(scope) if scope else None,
        ttl_s=_seconds(ttl),
        min_ttl_s=_seconds(min_ttl),
        purpose=purpose,
        is_own=revoke,
        is_clean=clean_env,
        is_masked=mask,
    )
    return door.run_ask(ask, os.environ, context.obj)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = hot.parse_duration(text)
    if seconds is None:
        raise UsageError(
            f"'{text}' is not a duration", hint="an integer and one of s m h d: 90s, 5m"
        )
    return seconds
