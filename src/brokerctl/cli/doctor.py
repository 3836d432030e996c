"""`brokerctl doctor`: what would fail in the next hour, and the command that repairs it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from brokerctl import jsonlite
from brokerctl.text import safe

_PROBLEM = 2
_TEXT_CHARS = 400


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    timing: Annotated[bool, typer.Option("--timing", help="Time the warm road.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no issuer.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Look for what would fail in the next hour; change nothing.

    Configuration, keys, store, grants, secrets, log, issuers and clock. Exit code 2: there is a
    problem. --timing compares a start with bare Python's.

    \b
      brokerctl doctor
      brokerctl doctor --offline --timing
    """
    from brokerctl.checkup import PROBLEM, examine

    findings = []
    for finding in examine(os.environ, is_offline=offline):
        findings.append(finding)
        if not json:
            typer.echo(safe(f"{finding.state}: {finding.what}", _TEXT_CHARS))
            if finding.hint:
                typer.echo(safe(f"  {finding.hint}", _TEXT_CHARS))
    ratio = _timing(json=json) if timing else None
    if json:
        rows = [finding.as_dict() for finding in findings]
        typer.echo(jsonlite.dumps({"schema": 1, "findings": rows, "start_ratio": ratio}))
    return _PROBLEM if any(finding.state == PROBLEM for finding in findings) else 0


def _timing(*, json: bool) -> float:
    from brokerctl.checkup.timing import BUDGET, measure

    ratio = measure()
    if not json:
        state = "ok" if ratio <= BUDGET else "warning"
        typer.echo(f"{state}: a start is {ratio} x python -I -c '', the budget {BUDGET}")
    return ratio
