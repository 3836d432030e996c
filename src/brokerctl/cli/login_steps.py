"""Finds or makes the profile of a login, and runs its flow with an interaction and the store."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import typer

from brokerctl.broker.request import find_profile, refuse_circle
from brokerctl.errors import UsageError, shell_word
from brokerctl.home import open_home
from brokerctl.model import TokenRequest, Value
from brokerctl.oauth.flows import find_flow
from brokerctl.text import safe

if TYPE_CHECKING:
    from brokerctl.broker.login import LoggedIn
    from brokerctl.home import Home
    from brokerctl.model import Profile


class LoginOptions(Value):
    """The options of one login."""

    flow: str | None = None
    port: int | None = None
    no_browser: bool = False
    subject: str | None = None
    scopes: tuple[str, ...] | None = None
    is_forced: bool = False
    wait_s: int | None = None
    client_id: str | None = None
    client_secret: str | None = None


def log_in(home: Home, name: str, options: LoginOptions) -> LoggedIn:
    """Run one login: its flow, with an interaction and the store."""
    from brokerctl.broker.login import Login
    from brokerctl.effects.drive import PersonInteraction, refuse_without_person, run
    from brokerctl.effects.paste import open_paste
    from brokerctl.session.environment import inherited

    if not name:
        first = "run 'brokerctl login https://ISSUER --client-id ID', or with github or gitlab"
        hint = "run 'brokerctl profile list'" if home.plan.profiles else first
        raise UsageError("no profile named", hint=hint)
    profile = find_profile(home.plan.profiles, name)
    refuse_circle(home.broker.within, name)  # a parent process holds the grant's lock
    if options.flow is not None:
        profile = profile.replace(flow=options.flow)
    issuer = home.issuer()
    paste = None if home.environ.get("CI") else open_paste()
    interaction = PersonInteraction(
        issuer.sender(profile),
        # Security: the browser is a child process: it must not inherit a client secret's variable.
        inherited(home.environ, home.plan.profiles.values(), is_clean=False),
        paste=paste,
        no_browser=options.no_browser,
        port=options.port,
        timeout_s=options.wait_s or profile.login_wait_s,
        request_s=profile.timeout_s,
    )
    try:
        find_flow(profile.flow)  # refuses an unknown flow before anything else is done
        if profile.traits.needs_person:
            refuse_without_person(
                interaction, name, profile.flow, is_asked=options.flow is not None
            )
        job = None if profile.job_source is None else home.find_job(profile.job_source)
        store = home.store_of(job)
        home.broker.asks_here = True
        login = Login(
            store, home.log, home.ring, issuer, interaction.doubt, home.find_rules, home.broker
        )
        request, is_forced = _request(home, name, options), options.is_forced
        return login.log_in(
            profile, request, run, interaction, owner=_owner(), is_forced=is_forced, job=job
        )
    finally:
        interaction.close()
        if paste is not None:
            paste.close()


def _request(home: Home, name: str, options: LoginOptions) -> TokenRequest:
    from brokerctl.platform.process import read_requester

    requester = read_requester(home.environ, "login")
    return TokenRequest(
        profile=name, requester=requester, subject=options.subject, scopes=options.scopes
    )


def name_for_url(home: Home, url: str, name: str | None, options: LoginOptions) -> str:
    """Return the profile of an issuer's URL, which is added to the user's file if missing."""
    from brokerctl.config import new_profile
    from brokerctl.config.edit import add_profile, change_user_file
    from brokerctl.effects import terminal

    client_id, client_secret = options.client_id, options.client_secret
    name = name or new_profile.name_of(url)
    known: Profile | None = home.plan.profiles.get(name)
    if known is not None:
        if known.issuer != url or client_id not in {None, known.client_id} or client_secret:
            raise UsageError(
                f"there is a profile '{name}' already", hint="give another name with --profile"
            )
        return name
    if client_id is None:
        if not terminal.is_interactive():
            raise UsageError(
                "a new issuer needs --client-id",
                hint=f"run 'brokerctl login {shell_word(url)} --client-id ID'",
            )
        client_id = terminal.ask(f"client id at {url}")
    values = new_profile.values_of(
        url, client_id, flow=options.flow, scopes=options.scopes or (), client_secret=client_secret
    )
    path = change_user_file(os.environ, lambda text: add_profile(text, name, values))
    typer.echo(f"brokerctl: stored profile '{name}' in {safe(path)}", err=True)
    return name


def with_preset(home: Home, name: str) -> Home:
    """Add a profile of a known issuer first, if a person can be asked."""
    from brokerctl.config.presets import PRESETS
    from brokerctl.effects import terminal

    if name in home.plan.profiles or name not in PRESETS:
        return home
    if not terminal.is_interactive():
        hint = f"run 'brokerctl profile add {shell_word(name)} --preset {shell_word(name)}'"
        raise UsageError(f"no profile '{name}'", hint=hint)
    from brokerctl.cli.profile import add_with_questions

    add_with_questions(name, preset=name)
    return open_home(os.environ)


def _owner() -> str:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())  # in a container the user may have no name
    return f"{user}@{os.uname().nodename}"
