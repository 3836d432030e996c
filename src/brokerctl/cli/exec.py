"""`brokerctl exec`: run a command with short-lived tokens of its own."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from brokerctl.cli import options, suggest
from brokerctl.errors import UsageError
from brokerctl.session import ExecRequest, start
from brokerctl.session.bounds import parse_bounds
from brokerctl.session.start import parse_pairs

_Revoke = Annotated[
    bool | None,
    typer.Option("--revoke/--keep", help="Tokens of its own, ended with it; or shared ones."),
]
_Command = Annotated[
    list[str] | None, typer.Argument(metavar="COMMAND", help="The command and its words.")
]
_Agent = Annotated[
    str | None, typer.Option(metavar="NAME", help="An agent's: it gets what a rule names, alone.")
]
_Uses = Annotated[int | None, typer.Option(metavar="N", help="How many tokens are given, at most.")]
_Rate = Annotated[
    str | None, typer.Option(metavar="N/TIME", help="How many in a time, as in 10/1m.")
]
_Hosts = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST", help="Only for these hosts: of requests that name one."),
]
_Socket = Annotated[
    bool,
    typer.Option("--socket", help="Serve tokens at $BROKERCTL_SOCKET, in place of variables."),
]
_Gateway = Annotated[
    bool,
    typer.Option("--gateway", help="Add tokens at $BROKERCTL_GATEWAY_PROFILE: it gets none."),
]
_Aws = Annotated[
    str | None,
    typer.Option(
        "--aws",
        metavar="PROFILE",
        help="AWS's SDKs ask for its credentials themselves.",
        autocompletion=suggest.profiles,
    ),
]
_Clean = Annotated[
    bool, typer.Option("--clean-env", help="Inherit nothing but the usual few variables.")
]
_Mask = Annotated[bool | None, typer.Option(help="Star its tokens out; on in CI logs.")]


def register(app: typer.Typer) -> None:
    """Add the command; all words from the first that is not an option belong to the child."""
    app.command("exec", context_settings={"allow_interspersed_args": False})(exec_)


def exec_(
    context: typer.Context,
    command: _Command = None,
    profile: options.Profiles = None,
    env: options.Variables = None,
    file: options.Files = None,
    scope: options.Scopes = None,
    resource: options.Resources = None,
    audience: options.Audiences = None,
    subject: options.Subject = None,
    ttl: options.Ttl = None,
    min_ttl: options.MinTtl = None,
    purpose: options.Purpose = None,
    revoke: _Revoke = None,
    mask: _Mask = None,
    agent: _Agent = None,
    uses: _Uses = None,
    rate: _Rate = None,
    allow_host: _Hosts = None,
    socket: _Socket = False,
    gateway: _Gateway = False,
    aws: _Aws = None,
    clean_env: _Clean = False,
) -> int:
    """Run a command with tokens in its environment or in private files.

    Exit code: the command's; 128+n if signal n ended it, 126 and 127 if it can't be run. Until it
    ends, each process of the same user can read its variables and files, ask at its socket, and use
    its gateway's key: docs/limits.md has what changes that.

    \b
      brokerctl exec -p gitlab -- glab issue list
      brokerctl exec --file TOKEN_FILE=payments --scope refund -- ./refund.sh
    """
    ask = ExecRequest(
        command=_words(command),
        profiles=tuple(profile or ()),
        **_pairs(env, file),
        subject=subject,
        **options.narrowed(scope, resource, audience),
        ttl_s=options.seconds(ttl),
        min_ttl_s=options.seconds(min_ttl),
        purpose=purpose,
        is_own=revoke,
        is_clean=clean_env,
        is_masked=mask,
        aws=aws,
        **parse_bounds(agent, uses, rate, allow_host, is_on=(socket, gateway)),
    )
    return start.run_ask(ask, os.environ, context.obj)


def _words(command: list[str] | None) -> tuple[str, ...]:
    if not command or not command[0]:
        raise UsageError("no command given", hint="run 'brokerctl exec -p PROFILE -- COMMAND'")
    return tuple(command)


def _pairs(env: list[str] | None, file: list[str] | None) -> dict[str, Any]:
    return {
        "env": parse_pairs("--env", {"--env": env or []}),
        "files": parse_pairs("--file", {"--file": file or []}),
    }
