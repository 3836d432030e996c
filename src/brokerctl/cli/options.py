"""Options of several commands: each with one form, one help line and one completion."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from brokerctl import get
from brokerctl.cli import suggest
from brokerctl.errors import UsageError
from brokerctl.get import FORMATS


def refuse_empty(value: str | None) -> str | None:
    """Return a subject; UsageError for an empty one.

    Security: `--subject "$TENANT"` with a variable that is not set must not mean the profile's own.
    """
    if value == "":
        raise UsageError("an empty subject is nobody's name")
    return value


AnyProfile = Annotated[
    str | None,
    typer.Argument(metavar="PROFILE", help="The profile's name.", autocompletion=suggest.profiles),
]
AProfile = Annotated[
    str,
    typer.Argument(metavar="PROFILE", help="The profile's name.", autocompletion=suggest.profiles),
]
Profiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        "-p",
        metavar="PROFILE",
        help="A profile; repeat for more.",
        autocompletion=suggest.profiles,
    ),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="Narrow to this scope; repeat for more.",
        autocompletion=suggest.scopes,
    ),
]
Resources = Annotated[
    list[str] | None,
    typer.Option("--resource", metavar="URL", help="Narrow to this resource; repeat for more."),
]
Audiences = Annotated[
    list[str] | None,
    typer.Option("--audience", metavar="NAME", help="Narrow to this audience; repeat for more."),
]
Subject = Annotated[
    str | None,
    typer.Option("--subject", metavar="NAME", help="On whose behalf.", callback=refuse_empty),
]
MinTtl = Annotated[
    str | None,
    typer.Option("--min-ttl", metavar="DURATION", help="At least this long left: 90s, 5m."),
]
Ttl = Annotated[
    str | None, typer.Option("--ttl", metavar="DURATION", help="No longer than this: 15m, 1h.")
]
Purpose = Annotated[
    str | None, typer.Option("--purpose", metavar="TEXT", help="Why; goes into the record.")
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME=PROFILE",
        help="Its token in this variable.",
        autocompletion=suggest.pairs,
    ),
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        metavar="NAME=PROFILE",
        help="Its token in a file, kept good; the path in NAME.",
        autocompletion=suggest.pairs,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"One of {', '.join(FORMATS)}.",
        autocompletion=suggest.formats,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def seconds(text: str | None) -> float | None:
    """Return the seconds of a duration option; None if it was not given; raises UsageError."""
    found = None if text is None else get.parse_duration(text)
    if text is not None and found is None:
        raise UsageError(
            f"'{text}' is not a duration", hint="an integer and one of s m h d: 90s, 5m"
        )
    return found


def narrowed(
    scope: list[str] | None, resource: list[str] | None, audience: list[str] | None
) -> dict[str, Any]:
    """Return what a command line narrows to, sorted and unique; None where it says nothing."""
    return {
        "scopes": get.split_scopes(scope) if scope else None,
        "resource": get.unique(resource),
        "audience": get.unique(audience),
    }
