"""`brokerctl helper`: let other tools ask brokerctl by themselves."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl.cli import options, suggest
from brokerctl.errors import PartialError, UsageError, shell_word
from brokerctl.helpers import HELPERS

if TYPE_CHECKING:
    from brokerctl.helpers.edit.file_changes import FileChange, Planned
    from brokerctl.helpers.install import Installed

_Tool = Annotated[
    str,
    typer.Argument(
        metavar="TOOL",
        help="The tool, by its name in `helper list` or its own.",
        autocompletion=suggest.tools,
    ),
]
_LONG = 40  # lines of a new or removed file; a longer one is not shown
_REST = {"ignore_unknown_options": True, "allow_extra_args": True}
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nobody.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from brokerctl.cli.app import make_app

    group = make_app()
    group.command("install")(install)
    group.command("uninstall")(uninstall)
    group.command("list")(show)
    group.command("import")(import_)
    group.command("export")(export)
    group.command("kept")(kept)
    group.command("forget")(forget)
    for name in HELPERS:
        group.command(name, hidden=True, add_help_option=False, context_settings=_REST)(_speak)
    group.callback()(_top)
    app.add_typer(group, name="helper")


def _top() -> None:
    """Let other tools ask brokerctl by themselves.

    \b
      brokerctl helper install git
      brokerctl helper list
    """


def _speak(context: typer.Context) -> None:
    """Speak a tool's protocol; the front door is the usual way to it."""
    from brokerctl.helpers.serve import run_words

    raise typer.Exit(run_words([context.info_name or "", *context.args], os.environ) or 0)


def install(
    tool: _Tool,
    profile: options.Profiles = None,
    yes: _Yes = False,
    json: options.Json = False,
) -> None:
    """Write brokerctl into a tool's own configuration.

    It is for the hosts of your profiles. The change is shown first; everything else in the file
    stays as it is.

    \b
      brokerctl helper install git
      brokerctl helper install git -p gitlab --yes
    """
    from brokerctl import output
    from brokerctl.broker.request import find_profile
    from brokerctl.helpers.install import find_setup, plan_install
    from brokerctl.helpers.kept import find_urls
    from brokerctl.helpers.setups import SETUPS
    from brokerctl.home import open_home

    tool, _ = find_setup(tool)
    if profile and SETUPS[tool].asks_for_all:
        output.note(f"{tool} asks for the hosts of every profile: --profile can't narrow that")
    home = open_home(os.environ)
    plan, found = home.plan, home.plan.profiles
    chosen = [find_profile(found, name) for name in profile] if profile else found.values()
    planned = plan_install(tool, chosen, os.environ, plan.keep, find_urls(home, tool))
    _change(planned, "installed", yes=yes, json=json)


def uninstall(tool: _Tool, yes: _Yes = False, json: options.Json = False) -> None:
    """Take brokerctl out of a tool's configuration again.

    \b
      brokerctl helper uninstall git
    """
    from brokerctl.cli.helper_credentials import note_kept
    from brokerctl.helpers.install import plan_uninstall

    note_kept(tool)
    _change(plan_uninstall(tool, os.environ), "uninstalled", yes=yes, json=json)


def import_(
    what: Annotated[str, typer.Argument(metavar="docker|git|netrc", help="Whose files.")],
    remove: Annotated[
        bool, typer.Option("--remove", help="Cut what is kept out of .netrc, too.")
    ] = False,
    yes: _Yes = False,
) -> None:
    """Move plain passwords into the store.

    `[helpers] keep` must have git, or docker. From their own files (podman's is docker's too) they
    are removed once they are kept, from .netrc, which other programs read, only with --remove. What
    would be done is shown first.

    \b
      brokerctl helper import git
      brokerctl helper import docker
      brokerctl helper import netrc --yes
    """
    from brokerctl.cli.helper_credentials import run

    run(what, is_cut=remove or what != "netrc", yes=yes)


def export(
    tool: Annotated[str, typer.Argument(metavar="git|docker|podman|cargo", help="Whose file.")],
    yes: _Yes = False,
) -> int:
    """Put what is kept for a tool back into its own file.

    In plain text, as the tool itself has it; the file is then its owner's alone. What would be done
    is shown first. It is written, and only then dropped here. Exit code 9: some is still kept.

    \b
      brokerctl helper export git
      brokerctl helper export docker --yes
    """
    from brokerctl.cli.helper_credentials import run_export

    return run_export(tool, yes=yes)


def kept(
    tool: Annotated[str | None, typer.Argument(metavar="TOOL", help="Only this tool's.")] = None,
    json: options.Json = False,
) -> int:
    """List what is kept for other tools, without passwords.

    What a tool had kept, or `helper import` moved here, with the reason where the tool is not
    answered with it.

    \b
      brokerctl helper kept
      brokerctl helper kept git
    """
    from brokerctl.cli.helper_credentials import show

    return show(tool, json=json)


def forget(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Whose it is: git, docker, cargo.")],
    host: Annotated[str, typer.Argument(metavar="HOST", help="Its host, or its whole URL.")],
    user: Annotated[str | None, typer.Argument(metavar="USER", help="Its user.")] = None,
    yes: _Yes = False,
) -> None:
    """Forget one credential that is kept for another tool.

    It is shown and asked for first. Its server takes it still: change it there.

    \b
      brokerctl helper forget git git.example.com alice
    """
    from brokerctl.cli.helper_credentials import run_forget

    run_forget(tool, host, user, yes=yes)


def _change(planned: Planned, word: str, *, yes: bool, json: bool) -> None:
    from brokerctl import output
    from brokerctl.effects.terminal import confirm, is_interactive
    from brokerctl.helpers.edit.file_changes import carry_out, tidy
    from brokerctl.text import safe

    if planned.is_change:
        for line in _diff(planned):
            typer.echo(safe(line, 1000), err=True)
        if planned.warning:
            output.warn(planned.warning)
        if not yes and not is_interactive():
            raise UsageError("there is nobody to ask", hint="say --yes")
        paths = " and ".join(one.path for one in planned.changes if one.is_change)
        if not yes and not confirm(f"change {paths}?"):
            raise UsageError("stopped: nothing was changed", hint="answer y, or say --yes")
        carry_out(planned)
    else:
        tidy(planned)
    _tell(planned, word, json=json)


def _tell(planned: Planned, word: str, *, json: bool) -> None:
    """Print the result; PartialError if the tool still asks brokerctl."""
    from brokerctl import jsonlite, output
    from brokerctl.text import safe

    if planned.left:
        raise PartialError(
            f"{planned.tool}: {word} in part: {'; '.join(planned.left)}",
            hint=f"take that out, then run 'brokerctl helper uninstall {shell_word(planned.tool)}'",
        )
    if planned.advice and not json:
        output.note(planned.advice)
    for path in planned.backups if word == "uninstalled" and not json else ():
        output.note(f"{path} is the file as it was before 'install': remove it if nobody needs it")
    if json:
        answer = {"tool": planned.tool, "path": planned.path, "changed": planned.is_change}
        typer.echo(jsonlite.dumps({"schema": 1, **answer}))
    else:
        how = word if planned.is_change else f"{word} already"
        typer.echo(f"{planned.tool}: {how}, {safe(planned.path)}")


def _diff(planned: Planned) -> list[str]:
    """Return the changes as `git diff` shows them: a missing file is /dev/null."""
    return [line for one in planned.changes for line in _shown(one)]


def _shown(one: FileChange) -> list[str]:
    """Return one change; for a long file that is made or removed, only its length."""
    before, after = ("/dev/null" if text is None else one.path for text in (one.before, one.after))
    lines = [
        line.rstrip("\n").replace("\t", "    ")
        for line in difflib.unified_diff(_lines(one.before), _lines(one.after), before, after, n=1)
    ]
    if None in {one.before, one.after} and len(lines) > _LONG:
        sign = "+" if one.before is None else "-"
        return [*lines[:2], f"{sign}({len(lines) - 3} lines of brokerctl's own)"]
    return lines


def _lines(text: str | None) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def show(
    for_url: Annotated[
        str | None, typer.Option("--for", metavar="URL", help="And whose profile a URL belongs to.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show which tools ask brokerctl, and how well.

    \b
      brokerctl helper list
      brokerctl helper list --for https://gitlab.example.com/team
    """
    from brokerctl import jsonlite
    from brokerctl.helpers.install import find_installed
    from brokerctl.helpers.setups import SETUPS
    from brokerctl.text import safe

    found = {tool: find_installed(tool, os.environ) for tool in SETUPS}
    profile = None if for_url is None else _profile_for(for_url)
    _tell_fault()
    if json:
        helpers = [
            {
                "tool": tool,
                "installed": one.is_in,
                "path": one.path,
                "fault": one.fault,
                "copies": one.copies,
            }
            for tool, one in found.items()
        ]
        typer.echo(jsonlite.dumps({"schema": 1, "helpers": helpers, "profile": profile}))
        return
    for tool, one in found.items():
        typer.echo(f"{tool}: {_state(tool, one)}")
    if for_url is not None:
        typer.echo(f"{safe(for_url)}: belongs to '{profile}'")


def _tell_fault() -> None:
    """Warn of an invalid configuration: until it is mended every tool gets "not ours"."""
    from brokerctl import output
    from brokerctl.config.compile import read_plan

    try:
        read_plan(os.environ)
    except UsageError as error:
        output.warn(f"{error.message}; no tool gets a token until that is mended")


def _profile_for(url: str) -> str:
    """Return the profile whose token a helper would hand out for a URL, or raise its error."""
    from brokerctl.config.hosts import match_profile
    from brokerctl.home import open_home

    return match_profile(url, open_home(os.environ).plan.profiles)


def _state(tool: str, one: Installed) -> str:
    from brokerctl.text import safe

    said = f"installed, {safe(one.path)}"
    if not one.is_in:
        said = f"not installed; run 'brokerctl helper install {shell_word(tool)}'"
    elif one.fault:
        said = safe(f"{one.fault}; {one.hint}", 1000)
    return said + "".join(f"; {safe(path)} is an old copy" for path in one.copies)
