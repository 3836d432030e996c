"""`brokerctl audit`: read, follow and verify the record, list what is held, repair."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl import jsonlite, output
from brokerctl.audit import show
from brokerctl.audit.record import render_time
from brokerctl.audit.show import COLUMNS
from brokerctl.cli import suggest
from brokerctl.cli.app import make_app
from brokerctl.config.paths import is_job_without_store
from brokerctl.errors import AuditError, not_in_this_version
from brokerctl.home import open_home
from brokerctl.output import is_wanted
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from brokerctl.audit.read import FoundRecord
    from brokerctl.audit.verify import Report
    from brokerctl.keys.ring import KeyRing
    from brokerctl.platform.private_files import Folder
    from brokerctl.store.inventory import Held

_STDOUT = 1
_WHOLE_CHARS = 24
_MIN_COLUMNS = 100
_FINGERPRINT_CHARS = 12  # as in the output of `revoke`
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_OnlyProfile = Annotated[
    str | None,
    typer.Option(metavar="PROFILE", help="Only this profile.", autocompletion=suggest.profiles),
]
_Event = Annotated[
    str | None,
    typer.Option(
        metavar="EVENT", help="Only this event, or its first part.", autocompletion=suggest.events
    ),
]
_Session = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="Only this session: its id's beginning.", autocompletion=suggest.sessions
    ),
]
LATER = ("posture", "leaks", "report", "export", "checkpoint")
_REST = {"ignore_unknown_options": True, "allow_extra_args": True}
HELD_HEADINGS = ("profile", "kind", "fingerprint", "expires", "status", "scopes")


def has_room() -> bool:
    """Return whether stdout is a terminal that is wide enough for our tables."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns >= _MIN_COLUMNS


def print_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print rows of text under their headings."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    header_style = "bold" if is_wanted(_STDOUT) else ""
    table = Table(box=None, pad_edge=False, header_style=header_style)
    texts = [[safe(cell) for cell in cells] for cells in rows]
    for number, heading in enumerate(headings):
        # Short columns stay whole; the last column and long texts are cut: half a time or half a
        # profile would be of no use.
        widest = max((len(cells[number]) for cells in texts), default=0)
        table.add_column(heading, no_wrap=heading != headings[-1] and widest <= _WHOLE_CHARS)
    for cells in texts:
        table.add_row(*map(Text, cells))
    Console(highlight=False).print(table)


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
    """Read and verify the record of hand-outs and grants.

    \b
      brokerctl audit log --since 2h
      brokerctl audit verify
      brokerctl audit tokens
    """


def _later(context: typer.Context) -> None:
    raise not_in_this_version(f"'audit {context.info_name}'")


def log(
    *,
    profile: _OnlyProfile = None,
    event: _Event = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From this time, or so long ago: 2h.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before this time.")] = None,
    requester: Annotated[
        str | None, typer.Option(metavar="WHO", help="By uid, pid, exe or tool: 'git', 'pid:42'.")
    ] = None,
    session: _Session = None,
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="COUNT", help="The newest so many.")
    ] = None,
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
    match = show.make_match(
        time.time(),
        profile=profile,
        event=event,
        since=since,
        until=until,
        requester=requester,
        session=session,
    )
    folder, _ = _open_record()
    show.refuse_ambiguous(folder, session)
    try:
        found = show.ask(folder, match, limit, follow=follow)
        _print(found, json=json, is_table=has_room() and not follow)
    except BrokenPipeError:
        # The reader, as `head`, has enough. The exit code is that of SIGPIPE: not all was written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return 0


def _open_record() -> tuple[Folder, KeyRing]:
    """Return the log's folder and keys; in a CI job without a store neither is made on disk."""
    if not is_job_without_store(os.environ):
        home = open_home(os.environ)
        return home.log.folder, home.ring
    from brokerctl.memory_home import hold_memory

    output.note("no store here, so nothing is held: each 'get' and 'exec' said where its record is")
    held = hold_memory()
    folder = held.folder.child("audit")
    assert folder is not None  # noqa: S101 - it is made if missing
    return folder, held.ring


def _print(records: Iterable[FoundRecord], *, json: bool, is_table: bool) -> None:
    if is_table and not json:
        print_table(show.RECORD_HEADINGS, [show.record_cells(found) for found in records])
        return
    for found in records:
        typer.echo(jsonlite.dumps(show.record_json(found)) if json else show.record_line(found))


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
    return _judged(judge(*_open_record(), parse=parse), json=json)


def tokens(json: JSON = False) -> int:
    """List what is held: fingerprints, never a value.

    \b
      brokerctl audit tokens
    """
    from brokerctl.store.entry import GRANT, TOKEN
    from brokerctl.store.inventory import list_held
    from brokerctl.store.slots import find_cut_off

    home = open_home(os.environ)
    cut_off = list(find_cut_off(home.store))  # first: their tokens may go to slots meanwhile
    grants, slots = home.store.entries(GRANT), home.store.entries(TOKEN)
    held = list_held(grants, slots, home.ring.fingerprint, time.time(), cut_off)
    if json:
        typer.echo(jsonlite.dumps(held_json(held)))
    elif has_room():
        print_table(HELD_HEADINGS, [held_cells(entry) for entry in held])
    else:
        typer.echo("".join(f"{line}\n" for line in held_lines(held)), nl=False)
    return 0


def repair(
    accept: Annotated[bool, typer.Option("--accept", help="Accept the problems found.")] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; goes into the record.")
    ] = None,
    json: JSON = False,
) -> int:
    """Make a damaged log writable again.

    Nothing is removed. --accept records that you know what is wrong, and why that is all right.

    \b
      brokerctl audit repair
      brokerctl audit repair --accept --reason "restored from backup"
    """
    from brokerctl.platform.process import read_requester

    show.check_reason(reason, accepted=accept)
    home = open_home(os.environ)
    requester = read_requester(os.environ, "audit")
    return _judged(show.mend(home.log, requester, reason), json=json)


def _judged(report: Report, *, json: bool) -> int:
    lines = [jsonlite.dumps(show.report_json(report))] if json else show.report_lines(report)
    typer.echo("\n".join(lines))
    if report.is_whole:
        return 0
    hint = "look into it; 'brokerctl audit repair --accept --reason WHY' records that you did"
    return output.print_error(
        AuditError("the log is not what was written", hint=hint), is_json=json
    )


def held_json(held: list[Held]) -> dict[str, Any]:
    """Return the JSON answer of `tokens`."""
    rows = [
        {
            **entry.as_dict(),
            "issued_at": _time(entry.issued_at),
            "expires_at": _time(entry.expires_at),
        }
        for entry in held
    ]
    return {"schema": 1, "held": rows}


def _time(moment: float | None) -> str | None:
    return None if moment is None else f"{render_time(moment).partition('.')[0]}Z"


def held_cells(entry: Held) -> tuple[str, ...]:
    """Return the cells of one grant or token under HELD_HEADINGS."""
    return (
        entry.profile or "",
        entry.kind,
        (entry.fingerprint or "")[:_FINGERPRINT_CHARS],
        _time(entry.expires_at) or "",
        entry.damage or entry.status,
        " ".join(entry.scopes),
    )


def held_lines(held: list[Held]) -> list[str]:
    """Return lines of what is held, below a headline for each profile and issuer."""
    lines: list[str] = []
    above: tuple[str | None, ...] = ()
    for entry in held:
        if entry.damage is not None:
            lines.append(safe(f"damaged {entry.kind}: {entry.damage}", 2 * COLUMNS))
            continue
        if above != (above := (entry.profile, entry.issuer, entry.subject)):
            whom = f" for {entry.subject}" if entry.subject else ""
            lines.append(safe(f"{entry.profile}  {entry.issuer}{whom}", COLUMNS))
        until = _time(entry.expires_at) or "-"
        line = f"  {entry.kind} {entry.fingerprint or '-':<32} {until:<20} {entry.status}"
        lines.append(safe(line, 2 * COLUMNS))  # longer, as the reason of a grant's end stands last
        if entry.scopes:
            lines.append(safe(f"        {' '.join(entry.scopes)}", COLUMNS))
    return lines
