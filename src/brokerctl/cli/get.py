"""`brokerctl get`: print one short-lived access token."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from brokerctl import hot, wire
from brokerctl.config.plan import default_profile
from brokerctl.errors import LoginNeededError, UsageError
from brokerctl.render import FORMATS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("get")(get)


def get(
    profile: Annotated[str | None, typer.Argument(help="The profile's name.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Narrow to this scope.")] = None,
    resource: Annotated[list[str] | None, typer.Option(help="Narrow to this resource.")] = None,
    subject: Annotated[str | None, typer.Option(help="On whose behalf.")] = None,
    min_ttl: Annotated[str | None, typer.Option(help="At least this long left: 90s, 5m.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Issued after this command began.")
    ] = False,
    purpose: Annotated[str | None, typer.Option(help="Why; goes into the record.")] = None,
    for_url: Annotated[str | None, typer.Option("--for", help="Pick the profile by URL.")] = None,
    login: Annotated[bool, typer.Option("--login", help="Log in first if needed.")] = False,
    form: Annotated[
        str | None, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Print one short-lived token, from the store or the issuer.

    \b
      brokerctl get gitlab
      brokerctl get gitlab --scope read_api --format header
      brokerctl get --for https://gitlab.example.com/api --json
    """
    name = _profile(profile, for_url)
    options = hot.GetOptions(name)
    options.scopes = hot.split_scopes(scope) if scope else None
    options.resource = tuple(sorted(set(resource))) if resource else None
    options.subject = subject
    options.min_ttl_s = _duration(min_ttl)
    options.purpose = purpose
    options.is_fresh = fresh
    options.form = _form(form, is_json=json)
    if login:
        _login_if_needed(options)
    return wire.run_get(options, os.environ)


def _profile(given: str | None, for_url: str | None) -> str:
    if given and for_url:
        raise UsageError("a profile and --for can't be combined", hint="name one of them")
    if for_url:
        from brokerctl.config.hosts import match_profile

        house = wire.open_house(os.environ, may_pass=True)
        return match_profile(for_url, house.plan.profiles)
    name = given or default_profile(wire.open_house(os.environ, may_pass=True).plan, os.environ)
    if not name:
        raise UsageError("no profile named", hint="run 'brokerctl profile list'")
    return name


def _form(given: str | None, *, is_json: bool) -> str:
    form = given or ("json" if is_json else "token")
    if form not in FORMATS:
        raise UsageError(f"no format '{form}'", hint=f"one of {', '.join(FORMATS)}")
    if is_json and form != "json":
        raise UsageError(f"--json and --format {form} can't be combined")
    return form


def _duration(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = hot.parse_duration(text)
    if seconds is None:
        raise UsageError(
            f"'{text}' is not a duration", hint="an integer and one of s m h d: 90s, 5m"
        )
    return seconds


def _login_if_needed(options: hot.GetOptions) -> None:
    """Log in where a person is needed and there: a terminal and `--login` (contract, section 1)."""
    from brokerctl.cli.login import login_interactively
    from brokerctl.effects.terminal import is_interactive

    house = wire.open_house(os.environ, may_pass=True)
    try:
        house.broker.get(wire.make_request(options, os.environ))
    except LoginNeededError:
        if not is_interactive():
            raise
        login_interactively(house, options.profile, options.subject)
