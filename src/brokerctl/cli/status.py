"""`brokerctl status`: what is held, for whom, until when, and what needs care."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from brokerctl import freshness, jsonlite, wire
from brokerctl.broker import NO_PERSON, grant_key
from brokerctl.cli.tend import tend
from brokerctl.errors import DamagedError, KeyLockedError
from brokerctl.keys.session import KeyState, find_state_here
from brokerctl.model import Profile, Slot
from brokerctl.store.envelope import QUEUE, TOKEN
from brokerctl.text import safe


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Show each profile's grant and tokens, and what to do next.

    \b
      brokerctl status
    """
    try:
        house = wire.open_house(os.environ)
    except KeyLockedError as error:
        _print([], None, find_state_here(os.environ, is_open=False), json=json)
        return wire.print_error(error, is_json=json)
    tend(house)
    now = time.time()
    slots = [entry.value for entry in house.store.entries(TOKEN) if entry.value is not None]
    rows = [_row(house, profile, slots, now) for _, profile in sorted(house.plan.profiles.items())]
    queued = sum(1 for entry in house.store.entries(QUEUE) if entry.value is not None)
    _print(rows, queued, find_state_here(os.environ, is_open=True), json=json)
    return 0


def _print(
    rows: list[dict[str, object]], queued: int | None, key: KeyState | None, *, json: bool
) -> None:
    """Print what is known; `queued` is None where the store can't be read without the key."""
    if json:
        body = {
            "schema": 1,
            "profiles": rows,
            "revocations_queued_for": queued,
            "key": key.as_json() if key else None,
        }
        typer.echo(jsonlite.dumps(body))
        return
    for row in rows:
        typer.echo(_line(row))
    if not rows and queued is not None:
        typer.echo("no profiles yet: run 'brokerctl profile add NAME'")
    if queued:
        typer.echo("some revocations are queued: run 'brokerctl revoke --all' to try again")
    if key:
        typer.echo(f"key: {key}")


def _row(house: wire.House, profile: Profile, slots: list[Slot], now: float) -> dict[str, object]:
    key = grant_key(profile)
    try:
        grant, damage = house.store.find_grant(key), None
    except DamagedError as error:
        grant, damage = None, error.message
    current = [slot.current for slot in slots if slot.key.grant == key and slot.current is not None]
    alive = [
        token
        for token in current
        if token.status == "live" and (token.expires_at is None or token.expires_at > now)
    ]
    ends = max((token.expires_at or 0 for token in alive), default=None)
    state, todo = "no grant", f"run 'brokerctl login {profile.name}'"
    if profile.flow in NO_PERSON:
        state, todo = "ready", ""
    elif damage is not None:
        state, todo = f"damaged: {damage}", "run 'brokerctl store check'"
    elif grant is not None and grant.dead_why is not None:
        state = f"ended: {grant.dead_why}"
    elif grant is not None:
        state, todo = "logged in", ""
    return {
        "profile": profile.name,
        "issuer": profile.issuer,
        "flow": profile.flow,
        "subject": profile.subject,
        "sub": grant.sub if grant else None,
        "state": state,
        "tokens": len(alive),
        "expires_at": freshness.timestamp(ends) if ends else None,
        "todo": todo or None,
    }


def _line(row: dict[str, object]) -> str:
    text = f"{row['profile']}: {row['state']}"
    if row["sub"]:
        text += f" as {row['sub']}"
    if row["tokens"]:
        text += f", {row['tokens']} token{'s' if row['tokens'] != 1 else ''}"
        text += f" until {row['expires_at']}"
    if row["todo"]:
        text += f" ({row['todo']})"
    return safe(text)
