"""`brokerctl login`: obtain a grant with a person's consent."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl import hot, jsonlite, render, wire
from brokerctl.broker import find_profile
from brokerctl.errors import UsageError, not_in_this_version
from brokerctl.model import TokenRequest
from brokerctl.text import safe

if TYPE_CHECKING:
    from brokerctl.login import LoggedIn
    from brokerctl.model import Profile
    from brokerctl.wire import House


class Wishes:
    """The options of one login."""

    flow: str | None = None
    port: int | None = None
    no_browser: bool = False
    subject: str | None = None
    scopes: tuple[str, ...] | None = None
    is_forced: bool = False


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("login")(login)


def login(
    target: Annotated[
        str | None, typer.Argument(metavar="[PROFILE|URL]", help="A profile, or an issuer's URL.")
    ] = None,
    flow: Annotated[str | None, typer.Option(help="code or device; else the profile's.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Listen on this loopback port.")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, open nothing.")
    ] = False,
    subject: Annotated[str | None, typer.Option(help="A label of yours for who logs in.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Ask for this scope alone.")] = None,
    profile: Annotated[str | None, typer.Option(help="With a URL: the new profile's name.")] = None,
    client_id: Annotated[str | None, typer.Option(help="With a URL: the client's id.")] = None,
    client_secret: Annotated[
        str | None, typer.Option(metavar="REFERENCE", help="With a URL: env:NAME, file:PATH, ….")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even as somebody else.")] = False,
    acr: Annotated[str | None, typer.Option(hidden=True)] = None,
    ci: Annotated[bool, typer.Option("--ci", hidden=True)] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Log in: with a browser, a code for another device, or an address to visit.

    With a terminal the answer can be pasted, so that ssh and containers work. Without one, BROWSER,
    --flow device or --no-browser says how; else it ends with exit code 3.

    \b
      brokerctl login github
      brokerctl login gitlab --flow device
      brokerctl login https://issuer.example.com --client-id 4f1c
    """  # noqa: D301 - Typer's mark for lines that stay as they are
    if acr is not None or ci:
        raise not_in_this_version("--acr" if acr is not None else "--ci")
    wishes = Wishes()
    wishes.flow, wishes.port, wishes.no_browser = flow, port, no_browser
    wishes.subject, wishes.is_forced = subject, force
    wishes.scopes = hot.split_scopes(scope) if scope else None
    house = wire.open_house(os.environ)
    if target and "://" in target:
        name = _name_for_url(house, target, profile, client_id, client_secret, wishes)
        house = wire.open_house(os.environ)
    elif profile or client_id or client_secret:
        raise UsageError("--profile, --client-id and --client-secret go with a URL")
    else:
        name = target or os.environ.get("BROKERCTL_PROFILE") or house.plan.default_profile or ""
        house = _with_preset(house, name)
    answer = log_in(house, name, wishes)
    typer.echo(jsonlite.dumps(_as_json(answer)) if json else _told(answer))
    return 0


def login_interactively(house: House, profile: str, subject: str | None = None) -> None:
    """Log in as `get --login` does, where there is a terminal."""
    wishes = Wishes()
    wishes.subject = subject
    log_in(house, profile, wishes)


def log_in(house: House, name: str, wishes: Wishes) -> LoggedIn:
    """Put desk, flow and store together for one login."""
    from brokerctl.effects.drive import Desk, refuse_without_person, run
    from brokerctl.effects.paste import open_paste
    from brokerctl.effects.requester import read_requester
    from brokerctl.login import Login
    from brokerctl.oauth.grants import find_flow

    if not name:
        raise UsageError("no profile named", hint="run 'brokerctl login PROFILE' or 'profile list'")
    profile = find_profile(house.plan.profiles, name)
    if wishes.flow is not None:
        profile = profile.replace(flow=wishes.flow)
    link = house.link()
    paste = None if house.environ.get("CI") else open_paste()
    desk = Desk(
        link.sender(profile),
        house.environ,
        paste=paste,
        no_browser=wishes.no_browser,
        port=wishes.port,
        request_s=profile.timeout_s,
    )
    try:
        if find_flow(profile.flow).needs_person:
            refuse_without_person(desk, name, profile.flow, is_asked=wishes.flow is not None)
        request = TokenRequest(
            profile=name,
            requester=read_requester(house.environ, "login"),
            subject=wishes.subject,
            scopes=wishes.scopes,
        )
        return Login(house.store, house.log, house.ring, link).log_in(
            profile, request, run, desk, owner=_owner(), is_forced=wishes.is_forced
        )
    finally:
        desk.close()


def _name_for_url(
    house: House,
    url: str,
    name: str | None,
    client_id: str | None,
    client_secret: str | None,
    wishes: Wishes,
) -> str:
    """Return the profile of an issuer's URL, stored in the user's file if there is none yet."""
    from brokerctl.config import login_url
    from brokerctl.config.edit import add_profile
    from brokerctl.config.userfile import change_user_file
    from brokerctl.effects import terminal

    name = name or login_url.name_of(url)
    known: Profile | None = house.plan.profiles.get(name)
    if known is not None:
        if known.issuer != url or client_id not in {None, known.client_id} or client_secret:
            raise UsageError(
                f"there is a profile '{name}' already", hint="give another name with --profile"
            )
        return name
    if client_id is None:
        if not terminal.is_interactive():
            raise UsageError("a new issuer needs --client-id")
        client_id = terminal.ask(f"client id at {url}")
    values = login_url.values_of(
        url, client_id, flow=wishes.flow, scopes=wishes.scopes or (), client_secret=client_secret
    )
    path = change_user_file(os.environ, lambda text: add_profile(text, name, values))
    typer.echo(f"brokerctl: stored profile '{name}' in {safe(path)}", err=True)
    return name


def _with_preset(house: House, name: str) -> House:
    """Add a profile of a known issuer first, where somebody can be asked."""
    from brokerctl.config.presets import PRESETS
    from brokerctl.effects import terminal

    if name in house.plan.profiles or name not in PRESETS:
        return house
    if not terminal.is_interactive():
        hint = f"run 'brokerctl profile add {name} --preset {name}'"
        raise UsageError(f"no profile '{name}'", hint=hint)
    from brokerctl.cli.profile import add_with_questions

    add_with_questions(name, preset=name)
    return wire.open_house(os.environ)


def _owner() -> str:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())  # a container's user without a name
    return f"{user}@{os.uname().nodename}"


def _as_json(answer: LoggedIn) -> dict[str, object]:
    return {
        "schema": 1,
        "profile": answer.profile,
        "issuer": answer.issuer,
        "subject": answer.subject,
        "sub": answer.sub,
        "scopes": list(answer.scopes),
        "missing_scopes": list(answer.missing),
        "expires_at": render.timestamp(answer.expires_at) if answer.expires_at else None,
        "can_refresh": answer.can_refresh,
        "replaced": [ending.outcome for ending in answer.endings],
    }


def _told(answer: LoggedIn) -> str:
    who = f" as {safe(answer.sub)}" if answer.sub else ""
    until = f"until {render.timestamp(answer.expires_at)}" if answer.expires_at else "without end"
    lines = [f"logged in to '{answer.profile}'{who}, first token {until}"]
    if answer.missing:
        lines.append(f"not granted: {safe(' '.join(answer.missing))}")
    if not answer.can_refresh:
        lines.append("the issuer gave no refresh token: this login ends with its token")
    if any(not ending.is_dead for ending in answer.endings):
        lines.append("the grant before could not be ended at the issuer: see 'brokerctl status'")
    return "\n".join(lines)
