"""`brokerctl doctor`: what would fail, and the command that fixes it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Annotated

import typer

from brokerctl import jsonlite, wire
from brokerctl.audit.verify import verify
from brokerctl.errors import BrokerError, KeyLockedError
from brokerctl.keys.session import find_state_here
from brokerctl.text import safe

_RUNS = 15
_PROBLEM = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    timing: Annotated[bool, typer.Option("--timing", help="Time the warm road.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Check configuration, keys, store and log.

    --timing compares a start with bare Python's.

    \b
      brokerctl doctor
      brokerctl doctor --timing
    """
    findings = _findings()
    ratio = _timing() if timing else None
    if json:
        body = {"schema": 1, "findings": findings, "start_ratio": ratio}
        typer.echo(jsonlite.dumps(body))
    else:
        for finding in findings:
            mark = "ok" if finding["ok"] else "problem"
            typer.echo(safe(f"{mark}: {finding['what']}"))
            if finding["hint"]:
                typer.echo(safe(f"  {finding['hint']}"))
        if ratio is not None:
            typer.echo(
                f"a start with configuration, keys and log opened: {ratio} x python -I -c ''"
            )
    return 0 if all(finding["ok"] for finding in findings) else _PROBLEM


def _findings() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    try:
        house = wire.open_house(os.environ)
    except KeyLockedError as error:
        key = find_state_here(os.environ, is_open=False)
        what = f"keys: {key or 'locked'}; {error.message}"
        return [_finding(what, ok=False, hint=error.hint)]
    except BrokerError as error:
        return [_finding(error.message, ok=False, hint=error.hint)]
    count = len(house.plan.profiles)
    found.append(_finding(f"configuration: {count} profile{'s' if count != 1 else ''}"))
    key = find_state_here(os.environ, is_open=True)
    found.append(_finding(f"keys: the key ring opens; {key}"))
    damaged = [
        entry.name
        for kind in (1, 2)
        for entry in house.store.entries(kind)
        if entry.damage is not None
    ]
    hint = "run 'brokerctl store check'" if damaged else None
    found.append(_finding(f"store: {len(damaged)} damaged entries", ok=not damaged, hint=hint))
    report = verify(house.log.folder, house.ring)
    hint = None if report.is_whole else "run 'brokerctl audit verify'"
    found.append(_finding("log: the chain is verified", ok=report.is_whole, hint=hint))
    if os.environ.get("SSLKEYLOGFILE"):
        found.append(_finding("SSLKEYLOGFILE is set; brokerctl ignores it", ok=True))
    return found


def _finding(what: str, *, ok: bool = True, hint: str | None = None) -> dict[str, object]:
    return {"what": what, "ok": ok, "hint": hint}


def _timing() -> float:
    """Return the median ratio of `get` of an unknown profile to a bare interpreter's start."""
    script = os.path.join(os.path.dirname(sys.executable), "brokerctl")
    bare = [sys.executable, "-I", "-c", ""]
    ours = [script, "get", "no-such-profile-for-timing"]
    ratios = [_time(ours) / _time(bare) for _ in range(_RUNS)]
    return round(statistics.median(ratios), 2)


def _time(argv: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(argv, check=False, capture_output=True)
    return time.perf_counter() - begun
