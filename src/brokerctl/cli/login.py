"""`brokerctl login`: obtain a grant with a person's consent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl import freshness, get, jsonlite
from brokerctl.cli import suggest
from brokerctl.cli.login_of_job import exchange_once, shown, told
from brokerctl.cli.login_steps import LoginOptions, log_in, name_for_url, with_preset
from brokerctl.cli.options import refuse_empty
from brokerctl.config.fields import duration
from brokerctl.errors import UsageError, not_in_this_version
from brokerctl.home import open_home
from brokerctl.model import FLOWS
from brokerctl.text import any_of, safe

if TYPE_CHECKING:
    from brokerctl.broker.login import LoggedIn
    from brokerctl.home import Home

_INTERACTIVE = [name for name, one in FLOWS.items() if one.needs_person]
_Target = Annotated[
    str | None,
    typer.Argument(
        metavar="PROFILE|URL",
        help="A profile, or an issuer's URL.",
        autocompletion=suggest.profiles,
    ),
]
_Port = Annotated[
    int | None,
    typer.Option(min=1, max=65535, metavar="PORT", help="Listen on this loopback port."),
]
_Flow = Annotated[
    str | None, typer.Option(metavar="FLOW", help=f"{any_of(_INTERACTIVE)}; else the profile's.")
]
_NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Print the address, open nothing.")]
_Ci = Annotated[
    bool, typer.Option("--ci", help="Exchange this CI job's identity, once, and tell of it.")
]
_Wait = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="How long a browser or device may take; 5m if unsaid."),
]
_Subject = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A label of yours for who logs in.", callback=refuse_empty),
]
_Secret = Annotated[
    str | None, typer.Option(metavar="REFERENCE", help="With a URL: env:NAME, file:PATH, ….")
]
_Scopes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SCOPE",
        help="Ask for this scope alone; repeat for more.",
        autocompletion=suggest.scopes,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("login")(login)


def login(
    target: _Target = None,
    flow: _Flow = None,
    port: _Port = None,
    no_browser: _NoBrowser = False,
    subject: _Subject = None,
    scope: _Scopes = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="With a URL: the new profile's name.")
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="With a URL: the client's id.")
    ] = None,
    client_secret: _Secret = None,
    wait: _Wait = None,
    force: Annotated[bool, typer.Option("--force", help="Even as somebody else.")] = False,
    acr: Annotated[str | None, typer.Option(hidden=True)] = None,
    ci: _Ci = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Log in, once: by browser, or by a code for another device.

    With a terminal the answer can be pasted, so that ssh and containers work. Without one, BROWSER,
    --flow device or --no-browser says how; else it ends with exit code 3.

    \b
      brokerctl login github
      brokerctl login gitlab --flow device
      brokerctl login https://issuer.example.com --client-id 4f1c
      brokerctl login deploy --ci
    """
    if acr is not None:
        raise not_in_this_version("--acr")
    options = LoginOptions(
        flow=flow,
        port=port,
        no_browser=no_browser,
        subject=subject,
        scopes=get.split_scopes(scope) if scope else None,
        is_forced=force,
        wait_s=None if wait is None else duration(wait),
        client_id=client_id,
        client_secret=client_secret,
    )
    if ci:
        return _exchange(target, profile, options, json=json)
    answer = _log_in(target, profile, options)
    typer.echo(jsonlite.dumps(_as_json(answer)) if json else _told(answer))
    return 0


def _exchange(target: str | None, name: str | None, options: LoginOptions, *, json: bool) -> int:
    exchanged = exchange_once(target, options, new_name=name)
    found = _as_json(exchanged.answer) | {"ci": shown(exchanged)}
    typer.echo(jsonlite.dumps(found) if json else told(exchanged))
    return 0


def _log_in(target: str | None, new_name: str | None, options: LoginOptions) -> LoggedIn:
    home = open_home(os.environ)
    if target and "://" in target:
        name = name_for_url(home, target, new_name, options)
        home = open_home(os.environ)
    elif new_name or options.client_id or options.client_secret:
        raise UsageError(
            "--profile, --client-id and --client-secret go with a URL",
            hint="run 'brokerctl login --help'",
        )
    else:
        name = target or os.environ.get("BROKERCTL_PROFILE") or home.plan.default_profile or ""
        home = with_preset(home, name)
    return log_in(home, name, options)


def login_interactively(home: Home, profile: str, subject: str | None = None) -> None:
    """Log in as `get --login` does, where there is a terminal."""
    log_in(home, profile, LoginOptions(subject=subject))


def _as_json(answer: LoggedIn) -> dict[str, object]:
    return {
        "schema": 1,
        "profile": answer.profile,
        "issuer": answer.issuer,
        "subject": answer.subject,
        "sub": answer.sub,
        "scopes": list(answer.scopes),
        "missing_scopes": list(answer.missing),
        "expires_at": freshness.timestamp(answer.expires_at) if answer.expires_at else None,
        **({"expires_at_assumed": True} if answer.is_assumed else {}),
        "can_refresh": answer.can_refresh,
        "replaced": [ending.outcome for ending in answer.endings],
    }


def _told(answer: LoggedIn) -> str:
    who = f" as {safe(answer.sub)}" if answer.sub else ""
    until = (
        f"until {freshness.timestamp(answer.expires_at)}" if answer.expires_at else "without end"
    )
    lines = [f"logged in to '{answer.profile}'{who}, first token {until}"]
    if answer.is_assumed:
        lines.append("the issuer names no lifetime: how long the token lives is assumed")
    if answer.broader:
        lines.append(f"warning: {safe(answer.broader)}")
    if answer.missing:
        lines.append(f"not granted: {safe(' '.join(answer.missing))}")
    if not answer.can_refresh:
        lines.append("the issuer gave no refresh token: this login ends with its token")
        if "offline_access" not in (*answer.scopes, *answer.missing):
            lines.append("many give one for the scope offline_access, which was not asked for")
    if any(not ending.is_dead for ending in answer.endings):
        lines.append("the grant before could not be ended at the issuer: see 'brokerctl status'")
    return "\n".join(lines)
