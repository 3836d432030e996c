"""`brokerctl audit`: read, follow and verify the record, list what is held, repair."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Annotated

import typer

from brokerctl import jsonlite, wire
from brokerctl.audit import query, show
from brokerctl.audit.report import Report
from brokerctl.cli.app import make_app
from brokerctl.errors import AuditError, UsageError, not_in_this_version
from brokerctl.files import Folder

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LATER = ("posture", "leaks", "report", "export", "checkpoint")
_NEWEST = 10  # shown before following
_REST = {"ignore_unknown_options": True, "allow_extra_args": True}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    audit = make_app()
    audit.callback()(_top)
    audit.command("log")(log)
    audit.command("verify")(verify)
    audit.command("tokens")(tokens)
    audit.command("repair")(repair)
    for name in LATER:
        audit.command(name, hidden=True, context_settings=_REST)(_later)
    app.add_typer(audit, name="audit")


def _top() -> None:
    """Read and verify the record of every decision, hand-out and change of a grant."""


def _later(context: typer.Context) -> None:
    raise not_in_this_version(f"'audit {context.info_name}'")


def log(
    *,
    profile: Annotated[str | None, typer.Option(help="Only this profile.")] = None,
    event: Annotated[str | None, typer.Option(help="Only this event, or its first part.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time, or so long ago: 2h.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    requester: Annotated[
        str | None, typer.Option(help="By uid, pid, exe or tool: 'git', 'pid:42'.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="The newest so many.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    json: JSON = False,
) -> int:
    """Show records, oldest first.

    --json prints them whole, one JSON object a line.

    \b
      brokerctl audit log --profile gitlab --since 2h
      brokerctl audit log --event token.denied --json
      brokerctl audit log --follow
    """
    now = time.time()
    match = query.Match(
        profile=profile,
        event=event,
        since=query.parse_moment(since, now) if since else None,
        until=query.parse_moment(until, now) if until else None,
        requester=requester,
        session=session,
    )
    folder = wire.open_house(os.environ).log.folder
    try:
        _show(folder, match, limit, follow=follow, json=json)
    except BrokenPipeError:
        # `| head` has what it wanted; the code says that not all was written, as for SIGPIPE.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return 0


def _show(
    folder: Folder, match: query.Match, limit: int | None, *, follow: bool, json: bool
) -> None:
    if follow:
        for found in query.follow_records(folder, match, _NEWEST if limit is None else limit):
            _print(found, json=json)
    records = query.find_records(folder, match, limit)
    if not json and sys.stdout.isatty():
        _print_table(show.RECORD_HEADINGS, [show.record_cells(found) for found in records])
        return
    for found in records:
        _print(found, json=json)


def verify(
    parse: Annotated[bool, typer.Option("--parse", help="Read every field too.")] = False,
    against: Annotated[str | None, typer.Option(hidden=True)] = None,
    json: JSON = False,
) -> int:
    """Verify the chain of all records.

    Tells edits, gaps, truncation and torn writes apart; exit code 7 if it is not whole.

    \b
      brokerctl audit verify
    """
    from brokerctl.audit.verify import verify as judge

    if against is not None:
        raise not_in_this_version("--against")
    house = wire.open_house(os.environ)
    return _judged(judge(house.log.folder, house.ring, parse=parse), json=json)


def tokens(json: JSON = False) -> int:
    """List what is held: fingerprints, never a value.

    \b
      brokerctl audit tokens
    """
    from brokerctl.audit.held import list_held
    from brokerctl.store.envelope import GRANT, TOKEN

    house = wire.open_house(os.environ)
    grants, slots = house.store.entries(GRANT), house.store.entries(TOKEN)
    held = list_held(grants, slots, house.ring.fingerprint, time.time())
    if json:
        typer.echo(jsonlite.dumps(show.held_json(held)))
    elif sys.stdout.isatty():
        _print_table(show.HELD_HEADINGS, [show.held_cells(entry) for entry in held])
    else:
        typer.echo("".join(f"{line}\n" for line in show.held_lines(held)), nl=False)
    return 0


def repair(
    accept: Annotated[bool, typer.Option("--accept", help="Accept the problems found.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; goes into the record.")] = None,
    json: JSON = False,
) -> int:
    """Make a damaged log writable again.

    Nothing is removed. --accept records that you know what is wrong, and why that is all right.

    \b
      brokerctl audit repair
      brokerctl audit repair --accept --reason "disk failure, restored from backup"
    """
    from brokerctl.audit import repair as room
    from brokerctl.effects.requester import read_requester

    if accept and not (reason and reason.strip()):
        raise UsageError("--accept needs a reason", hint="add --reason 'why it is all right'")
    if reason and not accept:
        raise UsageError("--reason goes with --accept")
    house = wire.open_house(os.environ)
    requester = read_requester(os.environ, "audit")
    if accept:
        return _judged(room.accept(house.log, requester, reason or "").report, json=json)
    return _judged(room.repair(house.log, requester).report, json=json)


def _judged(report: Report, *, json: bool) -> int:
    lines = [jsonlite.dumps(show.report_json(report))] if json else show.report_lines(report)
    typer.echo("\n".join(lines))
    if report.is_whole:
        return 0
    hint = "look into it; 'brokerctl audit repair --accept --reason WHY' records that you did"
    return wire.print_error(AuditError("the log is not what was written", hint=hint), is_json=json)


def _print(found: query.Found, *, json: bool) -> None:
    typer.echo(jsonlite.dumps(show.record_json(found)) if json else show.record_line(found))


def _print_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from brokerctl.text import safe

    table = Table(*headings, box=None, pad_edge=False, header_style="")
    for cells in rows:
        table.add_row(*(Text(safe(cell)) for cell in cells))
    Console(highlight=False).print(table)
