"""`brokerctl profile`: the named ways to get tokens."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brokerctl.cli import options
from brokerctl.errors import shell_word
from brokerctl.model import FLOWS
from brokerctl.text import any_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.compile import Compiled
    from brokerctl.model import Profile

_NEW = typer.Argument(metavar="NAME", help="The profile's name.")
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any key of a profile.")
]
_MAX_STDIN_BYTES = 64 * 1024


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from brokerctl.cli.app import make_app

    group = make_app()
    for name, command in (
        ("add", add),
        ("list", show_all),
        ("show", show),
        ("edit", edit),
        ("remove", remove),
        ("secret", secret),
        ("schema", schema),
    ):
        group.command(name)(command)
    group.callback()(_top)
    app.add_typer(group, name="profile")


def _top() -> None:
    """Add, list, show, edit and remove profiles.

    \b
      brokerctl profile add github
      brokerctl profile list
      brokerctl profile show github
    """


def add(
    name: Annotated[str, _NEW],
    preset: Annotated[
        str | None, typer.Option(metavar="PRESET", help="github, gitlab or generic.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="URL", help="The issuer's URL, as it is.")
    ] = None,
    flow: Annotated[str | None, typer.Option(metavar="FLOW", help=f"{any_of(FLOWS)}.")] = None,
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="What the issuer calls this app.")
    ] = None,
    client_secret: Annotated[
        str | None, typer.Option(metavar="REFERENCE", help="env:X, file:P, store:NAME, …")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="A scope; repeat for more.")
    ] = None,
    settings: _Set = None,
) -> None:
    """Add a profile; on a terminal what is missing is asked.

    \b
      brokerctl profile add github
      brokerctl profile add ci --issuer https://login.example.com --client-id ci \\
        --flow client_credentials --client-secret env:CI_SECRET
    """
    from brokerctl.config.new_profile import parse_setting, parse_settings

    values: dict[str, Any] = {
        key: value
        for key, value in (("issuer", issuer), ("flow", flow), ("client_id", client_id))
        if value is not None
    }
    if client_secret is not None:
        values["client_secret"] = parse_setting("client_secret", client_secret)
    if scope:
        values["scopes"] = scope
    values |= parse_settings(settings or ())
    add_with_questions(name, preset=preset, given=values)
    traits = FLOWS.get(values.get("flow", ""))
    is_person = traits is None or traits.needs_person
    _note(f"next: run 'brokerctl {'login' if is_person else 'get'} {shell_word(name)}'")


def add_with_questions(
    name: str, preset: str | None = None, given: dict[str, Any] | None = None
) -> None:
    """Add a profile, asking on the terminal for what is missing; UsageError without a terminal."""
    from brokerctl.config import fields, new_profile
    from brokerctl.config.edit import add_profile, change_user_file
    from brokerctl.effects import terminal
    from brokerctl.text import safe

    fields.profile_name(name)
    ask = terminal.ask if terminal.is_interactive() else None
    chosen = new_profile.find_preset(name, preset, given or {})
    values = new_profile.complete(name, given or {}, chosen, ask, terminal.say)
    path = change_user_file(os.environ, lambda text: add_profile(text, name, values))
    _note(f"stored profile '{name}' in {safe(path)}")


def show_all(json: _Json = False) -> None:
    """List the profiles in force.

    \b
      brokerctl profile list
    """
    from brokerctl.config import show
    from brokerctl.text import safe

    compiled = _compiled()
    rows = [
        {**show.summary(profile), "from": show.where_from(compiled.settings[name])}
        for name, profile in sorted(compiled.plan.profiles.items())
    ]
    if json:
        _print_json({"profiles": rows})
        return
    names, flows = (max((len(row[key]) for row in rows), default=0) for key in ("name", "flow"))
    for row in rows:
        begin = f"{row['name']:<{names}}  {row['flow']:<{flows}}"
        typer.echo(f"{begin}  {safe(row['issuer'])}  ({row['from']})")
    if not rows:
        _note("no profiles yet; run 'brokerctl profile add NAME'")


def show(
    name: options.AnyProfile = None,
    for_url: Annotated[
        str | None, typer.Option("--for", metavar="URL", help="Which profile is asked, and why.")
    ] = None,
    json: _Json = False,
) -> None:
    """Show a profile as it is in force, and where each value came from.

    \b
      brokerctl profile show gitlab
      brokerctl profile show --for https://gitlab.example.com/team
    """
    from brokerctl.errors import UsageError

    if (name is None) is (for_url is None):
        raise UsageError("name a profile, or a URL with --for", hint="not both, and not neither")
    if for_url is not None:
        show_match(_compiled().plan.profiles, for_url, json=json)
    else:
        show_values(_compiled(), name or "", json=json)


def edit(
    name: options.AProfile,
    settings: _Set = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Remove a key.")
    ] = None,
) -> None:
    """Change a profile of yours.

    Comments and order of the file stay as they are.

    \b
      brokerctl profile edit gitlab --set max_ttl=15m --unset owner
    """
    from brokerctl.config.edit import change_profile, change_user_file
    from brokerctl.config.new_profile import parse_settings
    from brokerctl.errors import UsageError
    from brokerctl.text import safe

    changes, removals = parse_settings(settings or ()), tuple(dict.fromkeys(unset or ()))
    if not changes and not removals:
        raise UsageError("nothing to change", hint="use --set KEY=VALUE or --unset KEY")
    path = change_user_file(os.environ, lambda text: change_profile(text, name, changes, removals))
    _note(f"changed profile '{name}' in {safe(path)}")


def remove(name: options.AProfile) -> None:
    """Remove a profile from your configuration.

    Its grants stay until they are revoked.

    \b
      brokerctl revoke gitlab
      brokerctl profile remove gitlab
    """
    from brokerctl.config.edit import change_user_file, remove_profile
    from brokerctl.text import safe

    path = change_user_file(os.environ, lambda text: remove_profile(text, name))
    _note(f"removed profile '{name}' from {safe(path)}")


def secret(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What { store = NAME } names.")],
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from stdin.")] = False,
    forget: Annotated[bool, typer.Option("--remove", help="Forget it.")] = False,
) -> None:
    """Keep a client secret in brokerctl's own sealed store.

    On a terminal it is asked for and not shown; a profile names it as { store = "NAME" }.

    \b
      brokerctl profile secret ci
      pass show ci | brokerctl profile secret ci --stdin
      brokerctl profile edit ci --set client_secret=store:ci
    """
    from brokerctl.config.fields import profile_name
    from brokerctl.errors import UsageError
    from brokerctl.home import open_home
    from brokerctl.store.entry import SECRET, plain_name

    profile_name(name)
    value = "" if forget else _read_secret(name, from_stdin=stdin)
    home = open_home(os.environ)
    sealed_name = plain_name(home.ring.name_key, "secret", name)
    if not forget:
        home.store.put_sealed(SECRET, sealed_name, value.encode())
    elif not home.store.drop_sealed(SECRET, sealed_name):
        raise UsageError(
            f"no secret '{name}' is stored",
            hint=f"run 'brokerctl profile secret {shell_word(name)}'",
        )
    _note(f"forgot secret '{name}'" if forget else f'stored; use it as {{ store = "{name}" }}')


def schema() -> None:
    """Print a JSON Schema of the configuration file, for editors.

    \b
      brokerctl profile schema >config.schema.json
    """
    from brokerctl import jsonlite
    from brokerctl.config.schema import make_schema

    typer.echo(jsonlite.dumps(make_schema()))


def _read_secret(name: str, *, from_stdin: bool) -> str:
    from brokerctl.effects import terminal
    from brokerctl.errors import UsageError

    if from_stdin:
        value = sys.stdin.buffer.read(_MAX_STDIN_BYTES).decode("utf-8", "replace").strip("\r\n")
    elif terminal.is_interactive():
        value = terminal.ask_secret(f"secret '{name}' (not shown)")
    else:
        raise UsageError("there is no terminal to ask on", hint="give it by --stdin")
    if not value or "\ufffd" in value:
        raise UsageError(
            "the secret is empty or not UTF-8",
            hint=f"run 'brokerctl profile secret {shell_word(name)}'",
        )
    return value


def _compiled() -> Compiled:
    from brokerctl.config.compile import compile_settings
    from brokerctl.config.layers import read_layers

    try:
        folder = os.getcwd()
    except OSError:
        folder = None
    layers = read_layers(os.environ, folder)
    if layers.notice and os.isatty(2):
        _note(layers.notice)
    return compile_settings(layers, os.environ)


def _note(text: str) -> None:
    from brokerctl.text import safe

    typer.echo(f"brokerctl: {safe(text, 1000)}", err=True)


def _print_json(answer: dict[str, object]) -> None:
    from brokerctl import jsonlite

    typer.echo(jsonlite.dumps({"schema": 1, **answer}))


def show_match(profiles: Mapping[str, Profile], url: str, *, json: bool) -> None:
    """Answer as `get --for` does: a URL of no profile, or of two, is a UsageError."""
    from brokerctl import jsonlite, output
    from brokerctl.config.hosts import match_profile
    from brokerctl.config.show import explain

    near = explain(url, profiles.values())
    is_covered = bool(near) and near[0].rank is not None
    if json:
        name = match_profile(url, profiles) if is_covered else None
        rows = [{"name": one.profile, "host": one.host, "why": one.why} for one in near]
        answer = {"schema": 1, "url": url, "profile": name, "hosts": rows}
        typer.echo(jsonlite.dumps(answer))
        return
    lines = [f"{one.profile}: {one.host}: {one.why}" for one in near]
    if not is_covered:
        for line in lines:
            output.note(line)
    match_profile(url, profiles)
    for line in lines:
        typer.echo(line)


def show_values(compiled: Compiled, name: str, *, json: bool) -> None:
    """Print each value, and where it came from."""
    from brokerctl import jsonlite
    from brokerctl.config import show
    from brokerctl.text import safe

    lines = show.show_profile(compiled, name)
    if json:
        values = {
            line.key: {"value": line.plain, "origin": line.origin, "place": line.place}
            for line in lines
        }
        typer.echo(jsonlite.dumps({"schema": 1, "profile": name, "values": values}))
        return
    for line in lines:
        place = f" ({safe(_short(line.place))})" if line.place else ""
        typer.echo(f"{line.key} = {safe(line.toml, 1000)}  # {line.origin}{place}")


def _short(place: str) -> str:
    home = os.environ.get("HOME", "").rstrip("/")
    return f"~{place[len(home) :]}" if home and place.startswith(f"{home}/") else place
