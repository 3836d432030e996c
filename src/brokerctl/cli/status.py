"""`brokerctl status`: shows what is held, for whom, until when, and what needs attention."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl import freshness, jsonlite, output
from brokerctl.broker.held_grants import find_orphaned_grants
from brokerctl.cli.unfinished import tend
from brokerctl.errors import DamagedError, KeyLockedError, shell_word
from brokerctl.home import Home, open_home
from brokerctl.keys.unlock import KeyState, find_state_here
from brokerctl.model import LIVE, Profile
from brokerctl.output import is_wanted, paint
from brokerctl.store.entry import QUEUE, TOKEN
from brokerctl.store.tool_credentials import count_kept
from brokerctl.store.values import Grant, Slot
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

_NONE, _READY, _HELD = "no grant", "ready", "logged in"
_FINE = (_READY, _HELD)
_STDOUT = 1


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
        home = open_home(os.environ)
    except KeyLockedError as error:
        state = find_state_here(os.environ, is_open=False)
        _print([], None, state if json or (state and state.is_locked) else None, json=json)
        return output.print_error(error, is_json=json)
    tend(home)
    now = time.time()
    slots = [entry.value for entry in home.store.entries(TOKEN) if entry.value is not None]
    rows = [_row(home, profile, slots, now) for _, profile in sorted(home.plan.profiles.items())]
    queues = [entry.value for entry in home.store.entries(QUEUE) if entry.value is not None]
    queued = sum(any(item.value for item in queue.items) for queue in queues)
    strays = [_stray(grant) for grant in find_orphaned_grants(home.store, home.plan.profiles)]
    kept = count_kept(home.store, now)
    key = find_state_here(os.environ, is_open=True)
    _print(rows, queued, key, strays, kept, json=json)
    return 0


def _print(
    rows: list[dict[str, object]],
    queued: int | None,
    key: KeyState | None,
    strays: Sequence[dict[str, object]] = (),
    kept: int | None = None,
    *,
    json: bool,
) -> None:
    """Print what is known; `queued` and `kept` are None where the store needs the key."""
    if json:
        body = {
            "schema": 1,
            "profiles": rows,
            "strays": list(strays),
            "revocations_queued_for": queued,
            "kept": kept,
            "key": key.as_json() if key else None,
        }
        typer.echo(jsonlite.dumps(body))
        return
    for row in rows:
        typer.echo(_line(row))
    for stray in strays:
        who = f" as {stray['sub']}" if stray["sub"] else ""
        text = f"also an older grant{who}, of other settings (run 'brokerctl revoke"
        typer.echo(safe(f"{stray['profile']}: {text} {stray['profile']}')", 400))
    if not rows and queued is not None:
        typer.echo("no profiles yet: run 'brokerctl profile add NAME'")
    if queued:
        typer.echo("some revocations are queued: each 'brokerctl status' tries again")
    if kept:
        typer.echo(f"kept for other tools: {kept} credential{'s' if kept != 1 else ''}")
    if key:
        typer.echo(f"key: {key}")


def _stray(grant: Grant) -> dict[str, object]:
    return {
        "profile": grant.profile,
        "issuer": grant.key.issuer,
        "subject": grant.key.subject,
        "sub": grant.sub,
        "obtained_at": freshness.timestamp(grant.obtained_at),
    }


def _row(home: Home, profile: Profile, slots: list[Slot], now: float) -> dict[str, object]:
    key = home.key_of(profile)
    try:
        grant, damage = home.store.find_grant(key), None
    except DamagedError as error:
        grant, damage = None, error.message
    current = [slot.current for slot in slots if slot.key.grant == key and slot.current is not None]
    alive = [
        token
        for token in current
        if token.status == LIVE and (token.expires_at is None or token.expires_at > now)
    ]
    ends = max((token.expires_at or 0 for token in alive), default=None)
    state, todo = _NONE, f"run 'brokerctl login {shell_word(profile.name)}'"
    if not profile.traits.needs_person:
        state, todo = _READY, ""
    elif damage is not None:
        state, todo = f"damaged: {damage}", "run 'brokerctl store check'"
    elif grant is not None and grant.dead_why is not None:
        state = f"ended: {grant.dead_why}"
    elif grant is not None:
        state, todo = _HELD, ""
    ends_at = grant.ends_at if grant is not None and grant.dead_why is None else None
    return {
        "profile": profile.name,
        "issuer": profile.issuer,
        "flow": profile.flow,
        "subject": profile.subject,
        "sub": grant.sub if grant else None,
        "state": state,
        "tokens": len(alive),
        "expires_at": freshness.timestamp(ends) if ends else None,
        "login_ends_at": freshness.timestamp(ends_at) if ends_at else None,
        "todo": todo or None,
    }


def _line(row: dict[str, object]) -> str:
    state = str(row["state"])
    style = "good" if state in _FINE else "care" if state == _NONE else "bad"
    state = paint(safe(state), style, is_on=is_wanted(_STDOUT))
    text = ""
    if row["sub"] and row["state"] == _HELD:
        text += f" as {row['sub']}"
    if row["tokens"]:
        text += f", {row['tokens']} token{'s' if row['tokens'] != 1 else ''}"
        text += f" until {row['expires_at']}"
    if row["login_ends_at"] and row["state"] == _HELD:
        text += f", its login ends at {row['login_ends_at']}"
    if row["todo"]:
        text += f" ({row['todo']})"
    return f"{row['profile']}: {state}{safe(text)}"
