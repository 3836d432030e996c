"""`brokerctl doctor`: what would fail in the next hour, and the command that repairs it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl import jsonlite
from brokerctl.output import is_wanted, paint
from brokerctl.text import count_of, safe

if TYPE_CHECKING:
    from brokerctl.doctor import Finding

_PROBLEM = 2
_TEXT_CHARS = 400
_STDOUT = 1
_STYLES = {"ok": "good", "warning": "care", "problem": "bad"}


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
    from brokerctl.doctor import PROBLEM, examine

    findings = []
    for finding in examine(os.environ, is_offline=offline):
        findings.append(finding)
        if not json:
            _show(finding)
    ratio = _timing(json=json) if timing else None
    if json:
        rows = [finding.as_dict() for finding in findings]
        typer.echo(jsonlite.dumps({"schema": 1, "findings": rows, "start_ratio": ratio}))
    else:
        _sum_up([finding.state for finding in findings])
    return _PROBLEM if any(finding.state == PROBLEM for finding in findings) else 0


def _show(finding: Finding) -> None:
    """Print a finding, wrapped to the terminal, and its hint unwrapped, since it is copied."""
    begin, is_painted = f"{finding.state}:", is_wanted(_STDOUT)
    lines = [safe(f"{begin} {finding.what}", _TEXT_CHARS)]
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        lines = textwrap.wrap(
            lines[0],
            columns,
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines[0] = paint(begin, _STYLES[finding.state], is_on=is_painted) + lines[0][len(begin) :]
    typer.echo("\n".join(lines))
    if finding.hint:
        typer.echo(paint(safe(f"  {finding.hint}", _TEXT_CHARS), "hint", is_on=is_painted))


def _sum_up(states: list[str]) -> None:
    """Print on stderr how many warnings and problems there are: it is not part of the answer."""
    counts = [(states.count("problem"), "problem"), (states.count("warning"), "warning")]
    told = ", ".join(count_of(count, word) for count, word in counts if count)
    typer.echo(f"brokerctl: {told or 'nothing wants care'}", err=True)


def _timing(*, json: bool) -> float:
    from brokerctl.doctor.program import BUDGET, measure

    ratio = measure()
    if not json:
        state = "ok" if ratio <= BUDGET else "warning"
        typer.echo(f"{state}: a start is {ratio} x python -I -c '', the budget {BUDGET}")
    return ratio
