"""`brokerctl trust`: trusts a project's .brokerctl.toml as it is now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from brokerctl.config.layers import Layer

_LINE_CHARS = 1_000_000  # the file is shown whole, with control characters escaped


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trust")(trust)


def trust(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The project's folder.")] = ".",
    remove: Annotated[bool, typer.Option("--remove", help="Stop trusting it.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List what is trusted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nobody.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let a project's .brokerctl.toml count until it is edited.

    A project file can only choose among your profiles and narrow them. On a terminal it is shown
    first, and you are asked.

    \b
      brokerctl trust ~/shop
      brokerctl trust --list
    """
    from brokerctl import jsonlite
    from brokerctl.config import trust as trusting
    from brokerctl.text import safe

    if show:
        pinned = [
            {"folder": name, "state": state} for name, state in trusting.find_pinned(os.environ)
        ]
        lines = [f"{entry['state']:<8} {safe(entry['folder'])}" for entry in pinned]
        answer: dict[str, object] = {"trusted": pinned}
    elif remove:
        gone = trusting.unpin(folder, os.environ)
        lines, answer = [f"{safe(gone)} is no longer trusted"], {"removed": gone}
    else:
        project = trusting.find_candidate(folder, os.environ)
        if not yes:
            _ask(project)
        trusting.pin(project, os.environ)
        lines = [f"{safe(project.path)} is trusted, as it is now"]
        answer = {"pinned": project.path}
    if json:
        lines = [jsonlite.dumps({"schema": 1, **answer})]
    for line in lines:
        typer.echo(line)


def _ask(project: Layer) -> None:
    """Show the file and ask, if there is a terminal; UsageError if the answer is no."""
    from brokerctl.effects.terminal import confirm, is_interactive
    from brokerctl.text import safe

    if not is_interactive():
        return
    typer.echo(f"{safe(project.path)} says:", err=True)
    for line in (project.content or b"").decode("utf-8", "backslashreplace").splitlines():
        typer.echo(f"  {safe(line.expandtabs(), _LINE_CHARS)}", err=True)
    if not confirm("let this count until it is edited?"):
        raise UsageError("stopped: nothing is trusted", hint="answer y, or say --yes")
