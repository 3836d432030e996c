"""`brokerctl revoke`: kill at the issuer, then here, and say honestly what is still alive."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from brokerctl import freshness, jsonlite, wire
from brokerctl.broker import find_profile
from brokerctl.cli import options
from brokerctl.cli.tend import tend
from brokerctl.errors import UsageError
from brokerctl.revoking import Ending, keys_of

PARTIAL = 9


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("revoke")(revoke)


def revoke(
    profile: options.AnyProfile = None,
    everything: Annotated[bool, typer.Option("--all", help="Every grant and token held.")] = False,
    subject: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this subject's.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove it by introspection, where there is one.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Revoke a profile's grant and tokens at the issuer and here.

    Each ends as revoked, expired, local only (it lives at the issuer until the time shown) or
    unknown (queued, and tried again by later commands). Exit code 9: not all of them are dead.

    \b
      brokerctl revoke gitlab --verify
      brokerctl revoke --all
    """
    if bool(profile) == everything:
        raise UsageError("name one profile, or say --all", hint="run 'brokerctl revoke --help'")
    house = wire.open_house(os.environ)
    tend(house)
    names = {profile} if profile else None
    targets = keys_of(house.store, house.plan.profiles, names, subject)
    if profile and not targets:
        find_profile(house.plan.profiles, profile)  # a wrong name is an error, nothing held is not
    revoker = house.revoker("revoke")
    endings = [
        ending for held, key in targets for ending in revoker.revoke(held, key, verify=verify)
    ]
    if json:
        typer.echo(jsonlite.dumps(_as_json(endings)))
    else:
        _print(endings)
    return 0 if all(ending.is_dead for ending in endings) else PARTIAL


def _as_json(endings: list[Ending]) -> dict[str, object]:
    return {
        "schema": 1,
        "all_dead": all(ending.is_dead for ending in endings),
        "endings": [
            {
                "profile": ending.profile,
                "subject": ending.subject,
                "kind": ending.kind,
                "fingerprint": ending.fingerprint,
                "outcome": ending.outcome,
                "until": freshness.timestamp(ending.until) if ending.until else None,
                "proven": ending.is_proven,
                "reason": ending.reason or None,
            }
            for ending in endings
        ],
    }


def _print(endings: list[Ending]) -> None:
    if not endings:
        typer.echo("nothing to revoke")
    for ending in endings:
        what = ending.kind.replace("_", " ")
        line = f"{ending.profile}: {what} {ending.fingerprint[:12]}: {told(ending)}"
        typer.echo(line)


def told(ending: Ending) -> str:
    """Say one ending in words, with until when a token lives that could not be killed."""
    until = freshness.timestamp(ending.until) if ending.until else "the issuer ends it"
    text = {
        "revoked": "revoked",
        "expired": "expired",
        "local_only": f"local only until {until}",
        "unknown": "unknown, queued",
    }[ending.outcome]
    if ending.is_proven:
        text += ", introspection says inactive"
    return f"{text} ({ending.reason})" if ending.reason else text
