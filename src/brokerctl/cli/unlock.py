"""`brokerctl unlock` and `brokerctl lock`: loads and drops the data key, as ssh-add does."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from brokerctl.config import paths
from brokerctl.config.duration import parse_duration, render_duration
from brokerctl.config.plan import Plan
from brokerctl.errors import KeyLockedError, StoreError
from brokerctl.keys import harden
from brokerctl.platform.private_files import Folder, open_folder

_For = Annotated[str | None, typer.Option("--for", metavar="DURATION", help="Until it locks.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command("unlock")(unlock)
    app.command("lock")(lock)


def unlock(duration: _For = None, json: _Json = False) -> int:
    """Load the data key into this machine's key cache for a while.

    \b
      brokerctl unlock
      brokerctl unlock --for 30m
    """
    from brokerctl.effects import terminal
    from brokerctl.keys.keyring import UNLOCK
    from brokerctl.keys.unlock import unlock as unlock_keys

    seconds = None if duration is None else parse_duration(duration)
    harden()
    ask = terminal.ask_secret if terminal.is_interactive() else None
    for_s = _configured if seconds is None else lambda: seconds
    try:
        done = unlock_keys(_home(), os.environ, for_s, ask=ask, choice=_choice)
    except KeyLockedError as error:
        if ask is None and error.hint == UNLOCK:  # the hint would name this command
            more = "" if "keyring" in error.message else ", or set BROKERCTL_PASSPHRASE_FILE"
            error.hint = f"run it on a terminal{more}"
        raise
    if json:
        _print_json({"keeper": done.keeper, "unlocked_for": done.for_s})
    elif done.for_s is None:
        typer.echo(f"the key is kept by '{done.keeper}', which needs no unlocking", err=True)
    else:
        typer.echo(f"unlocked for {render_duration(done.for_s)}", err=True)
    if done.notice:
        typer.echo(f"brokerctl: note: {done.notice}", err=True)
    return 0


def lock(json: _Json = False) -> int:
    """Drop the data key from this machine's key cache.

    \b
      brokerctl lock
    """
    from brokerctl.keys.unlock import lock as lock_keys

    was_cached = lock_keys(_home(), os.environ)
    if json:
        _print_json({"was_unlocked": was_cached})
    else:
        typer.echo("locked" if was_cached else "there was no key in the cache", err=True)
    return 0


def _home() -> Folder:
    state = open_folder(paths.state_home(os.environ))
    home = state.child(paths.STATE_VERSION) if state is not None else None
    if home is None:
        raise StoreError("the state folder can't be opened")
    return home


def _choice() -> str | None:
    return _plan().keeper


def _configured() -> int | None:
    return _plan().unlock_for_s


def _plan() -> Plan:
    from brokerctl.config.compile import compile_layers
    from brokerctl.config.layers import read_layers

    return compile_layers(read_layers(os.environ, os.getcwd()), os.environ)


def _print_json(answer: dict[str, object]) -> None:
    from brokerctl import jsonlite

    typer.echo(jsonlite.dumps({"schema": 1, **answer}))
