"""`brokerctl doctor`: what would fail in the next hour, and the command that repairs it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.output import is_wanted, paint
from brokerctl.text import count_of, safe

if TYPE_CHECKING:
    from brokerctl.doctor import Finding
    from brokerctl.doctor.ci import Identity, JobReport

_PROBLEM = 2
_TEXT_CHARS = 400
_CLAIM_CHARS = 4096
_STDOUT = 1
_STYLES = {"ok": "good", "warning": "care", "problem": "bad"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    timing: Annotated[bool, typer.Option("--timing", help="Time the warm road.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no issuer.")] = False,
    ci: Annotated[bool, typer.Option("--ci", help="Show who this CI job is.")] = False,
    audience: Annotated[
        str | None, typer.Option(metavar="AUDIENCE", help="With --ci: who it is made known to.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Look for what would fail in the next hour; change nothing.

    Configuration, keys, store, grants, secrets, log, issuers and clock. Exit code 2: there is a
    problem. --timing compares a start with bare Python's. --ci asks the platform who this job is,
    and shows the claims, what a cloud's trust rule would say, and what is missing.

    \b
      brokerctl doctor
      brokerctl doctor --offline --timing
      brokerctl doctor --ci
    """
    if ci and (offline or timing):
        raise UsageError(
            "--ci goes with --audience and --json alone", hint="run 'brokerctl doctor --help'"
        )
    if ci:
        return _show_job(audience, json=json)
    if audience is not None:
        raise UsageError("--audience goes with --ci", hint="run 'brokerctl doctor --help'")
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


def _show_job(audience: str | None, *, json: bool) -> int:
    """Print what this job's platform says that it is; return the exit code."""
    from brokerctl.doctor.ci import examine_job

    report = examine_job(os.environ, audience)
    if json:
        typer.echo(jsonlite.dumps(_job_as_json(report)))
    else:
        for finding in report.findings:
            _show(finding)
        shown: set[str] = set()
        for identity in report.identities:
            _show_identity(identity, shown)
        _sum_up([finding.state for finding in report.findings])
    return _PROBLEM if report.has_problem else 0


def _show_identity(identity: Identity, shown: set[str]) -> None:
    """Print one identity; a condition that stands above already is not repeated."""
    whose = f" of {', '.join(identity.profiles)}" if identity.profiles else ""
    typer.echo(f"\nidentity{whose} for {safe(identity.audience, _CLAIM_CHARS)}")
    if identity.job is not None:
        typer.echo(f"job: {safe(' '.join(identity.job), _TEXT_CHARS)}")
    typer.echo("claims:")
    for name, value in sorted(identity.claims.items()):
        text = value if isinstance(value, str) else jsonlite.dumps(value)
        typer.echo(f"  {safe(name)}: {safe(text, _CLAIM_CHARS)}")
    if identity.sub is not None:
        typer.echo(f"sub, letter by letter:\n{safe(identity.sub, _CLAIM_CHARS)}")
    for one in identity.conditions:
        text = f"\n{one.title}\n"
        text += f"# {safe(one.note, _CLAIM_CHARS)}\n" if one.note else ""
        text += one.text or ""
        if text not in shown:
            shown.add(text)
            typer.echo(text.rstrip("\n"))


def _job_as_json(report: JobReport) -> dict[str, object]:
    """Return the documented JSON of `doctor --ci --json` (schema 1)."""
    return {
        "schema": 1,
        "platforms": list(report.platforms),
        "fork": report.fork,
        "identities": [
            {
                "platform": one.platform,
                "profiles": list(one.profiles),
                "job": None if one.job is None else list(one.job),
                "audience": one.audience,
                "sub": one.sub,
                "claims": dict(one.claims),
                "conditions": [
                    {"cloud": rule.cloud, "text": rule.text, "note": rule.note}
                    for rule in one.conditions
                ],
            }
            for one in report.identities
        ],
        "findings": [finding.as_dict() for finding in report.findings],
    }
