"""`brokerctl trust`: let a project's .brokerctl.toml count, as it is now."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trust")(trust)


def trust(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The project's folder.")] = ".",
    remove: Annotated[bool, typer.Option("--remove", help="Stop trusting it.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List what is trusted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let a project's .brokerctl.toml count until it is edited.

    A project file can only choose among your profiles and narrow them.

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
        path = trusting.pin(folder, os.environ)
        lines, answer = [f"{safe(path)} is trusted, as it is now"], {"pinned": path}
    if json:
        lines = [jsonlite.dumps({"schema": 1, **answer})]
    for line in lines:
        typer.echo(line)
