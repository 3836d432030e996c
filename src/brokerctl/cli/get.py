"""`brokerctl get`: print one short-lived access token."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from brokerctl.cli import options
from brokerctl.config.paths import SOCKET_VARIABLE
from brokerctl.config.plan import default_profile
from brokerctl.errors import LoginNeededError, UsageError
from brokerctl.get import FORMATS, GetOptions, get_token, run_get, split_scopes, unique
from brokerctl.home import open_home
from brokerctl.session import inside


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("get")(get)


def get(
    profile: options.AnyProfile = None,
    scope: options.Scopes = None,
    resource: options.Resources = None,
    audience: options.Audiences = None,
    subject: options.Subject = None,
    min_ttl: options.MinTtl = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Issued after this command began.")
    ] = False,
    purpose: options.Purpose = None,
    for_url: Annotated[
        str | None, typer.Option("--for", metavar="URL", help="Pick the profile by URL.")
    ] = None,
    login: Annotated[bool, typer.Option("--login", help="Log in first if needed.")] = False,
    form: options.Format = None,
    json: options.Json = False,
) -> int:
    """Print one short-lived token, from the store or the issuer.

    \b
      brokerctl get gitlab
      brokerctl get gitlab --scope read_api --format header
      brokerctl get --for https://gitlab.example.com/api --json
    """
    name = find_name(profile, for_url)
    asked = GetOptions(name)
    asked.scopes = split_scopes(scope) if scope else None
    asked.resource = unique(resource)
    asked.audience = unique(audience)
    asked.subject = subject
    asked.min_ttl_s = options.seconds(min_ttl)
    asked.purpose = purpose
    asked.is_fresh = fresh
    asked.url = for_url
    asked.form = _form(form, is_json=json)
    if login:
        try:
            return get_token(asked, os.environ)
        except LoginNeededError as needed:
            _log_in(asked, needed)
    run = inside.run_get if SOCKET_VARIABLE in os.environ else run_get
    return run(asked, os.environ)


def find_name(given: str | None, for_url: str | None) -> str:
    """Return the profile that is named here or in the environment; "" for that of a URL."""
    if given and for_url:
        raise UsageError("a profile and --for can't be combined", hint="name one of them")
    if for_url:
        return ""  # found later, when the configuration is read for the request
    if SOCKET_VARIABLE in os.environ:
        name = given or os.environ.get("BROKERCTL_PROFILE")
    else:
        name = given or default_profile(open_home(os.environ, may_use_memory=True).plan, os.environ)
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


def _log_in(asked: GetOptions, needed: LoginNeededError) -> None:
    """Log in if a person is at the terminal, else raise `needed` (contract, section 1)."""
    from brokerctl.cli.login import login_interactively
    from brokerctl.effects.terminal import is_interactive

    if not is_interactive():
        raise needed
    home = open_home(os.environ, may_use_memory=True)
    login_interactively(home, asked.profile, asked.subject)
