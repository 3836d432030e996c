"""`brokerctl status`: shows what is held, for whom, until when, and what needs attention.

Rows are read, printed and forgotten one by one: ten thousand subjects take no more memory than ten.
"""

from __future__ import annotations

import os
import time
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brokerctl import freshness, jsonlite, output
from brokerctl.broker.grant_status import FINE, HELD, NONE, of_profiles, of_subjects
from brokerctl.broker.held_grants import find_orphaned_grants
from brokerctl.cli import options
from brokerctl.cli.unfinished import tend
from brokerctl.errors import KeyLockedError
from brokerctl.home import Home, open_home
from brokerctl.keys.unlock import KeyState, find_state_here
from brokerctl.output import is_wanted, paint
from brokerctl.store.entry import QUEUE
from brokerctl.store.tool_credentials import count_kept
from brokerctl.text import count_of, safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from brokerctl.broker.grant_status import GrantStatus
    from brokerctl.store.values import Grant

_STDOUT = 1
_MOST_LINES = 10  # of one profile's subjects, and of the older grants
_PIECE_CHARS = 65536
_Subject = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only this subject's.", callback=options.refuse_empty),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    subject: _Subject = None,
) -> int:
    """Show each profile's grants and tokens, and what to do next.

    Of a profile with many subjects it counts them, and names those that need care.

    \b
      brokerctl status
      brokerctl status --subject ann
    """
    try:
        home = open_home(os.environ)
    except KeyLockedError as error:
        state = find_state_here(os.environ, is_open=False)
        if json:
            _write(_as_json((), (), {"revocations_queued_for": None, "kept": None}, state))
        elif state is not None and state.is_locked:
            typer.echo(f"key: {state}")
        return output.print_error(error, is_json=json)
    tend(home)
    now = time.time()
    queues = (entry.value for entry in home.store.stream(QUEUE) if entry.value is not None)
    queued = sum(any(item.value for item in queue.items) for queue in queues)
    counts: dict[str, int | None] = {
        "revocations_queued_for": queued,
        "kept": count_kept(home.store, now),
    }
    key = find_state_here(os.environ, is_open=True)
    # What makes the whole store unreadable raises here, before anything is printed.
    own = list(of_profiles(home.store, home.plan.profiles, home.key_of, now, subject))
    strays = find_orphaned_grants(home.store, home.plan.profiles, subject)
    if json:
        others = (
            of_subjects(home.store, home.plan.profiles, home.key_of, now) if subject is None else ()
        )
        _write(_as_json(chain(own, others), strays, counts, key))
        return 0
    if subject is None:
        _print_all(home, own, now)
    else:
        _print_subject(own, subject)
    _print_rest(strays, counts, key)
    return 0


def _as_json(
    rows: Iterable[GrantStatus | None],
    strays: Iterable[Grant],
    counts: dict[str, int | None],
    key: KeyState | None,
) -> Iterator[str]:
    """Yield the answer in pieces: one object, of which no list is ever whole in memory."""
    damaged = None if counts["kept"] is None else 0
    yield '{"schema":1,"profiles":['
    comma = ""
    for row in rows:
        if row is None:
            damaged = (damaged or 0) + 1
            continue
        yield comma + jsonlite.dumps(_row(row))
        comma = ","
    yield '],"strays":['
    comma = ""
    for grant in strays:
        yield comma + jsonlite.dumps(_stray(grant))
        comma = ","
    rest: dict[str, Any] = counts | {"key": key.as_json() if key else None, "damaged": damaged}
    yield f"],{jsonlite.dumps(rest)[1:]}\n"


def _write(pieces: Iterable[str]) -> None:
    waiting: list[str] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length > _PIECE_CHARS:
            typer.echo("".join(waiting), nl=False)
            waiting, length = [], 0
    typer.echo("".join(waiting), nl=False)


def _stray(grant: Grant) -> dict[str, object]:
    return {
        "profile": grant.profile,
        "issuer": grant.key.issuer,
        "subject": grant.key.subject,
        "sub": grant.sub,
        "obtained_at": freshness.timestamp(grant.obtained_at),
    }


def _row(one: GrantStatus) -> dict[str, object]:
    return {
        "profile": one.profile.name,
        "issuer": one.profile.issuer,
        "flow": one.profile.flow,
        "subject": one.key.subject,
        "sub": one.grant.sub if one.grant else None,
        "state": one.state,
        "tokens": one.tokens,
        "expires_at": freshness.timestamp(one.tokens_end) if one.tokens_end else None,
        "login_ends_at": freshness.timestamp(one.ends_at) if one.ends_at else None,
        "todo": one.todo or None,
    }


class _Subjects:
    """The other subjects of one profile: counted, and as many kept as there are lines for."""

    def __init__(self) -> None:
        self.count = self.tokens = self.in_care = 0
        self.states: dict[str, int] = {}
        self.first: list[GrantStatus] = []
        self.care: list[GrantStatus] = []

    def add(self, one: GrantStatus, now: float) -> None:
        """Count one."""
        self.count += 1
        self.tokens += one.tokens
        word = "revoked" if one.is_revoked else one.state.partition(":")[0]
        self.states[word] = self.states.get(word, 0) + 1
        if self.count <= _MOST_LINES:
            self.first.append(one)
        if one.needs_care(now):
            self.in_care += 1
            if self.in_care <= _MOST_LINES:
                self.care.append(one)

    def lines(self, name: str) -> Iterator[str]:
        """Yield a line for each of a few; of many the counts, and a line for who needs care."""
        if self.count <= _MOST_LINES:
            yield from map(_line_of_subject, self.first)
            return
        found = [f"{count} {word}" for word, count in sorted(self.states.items())]
        tokens = f"; {count_of(self.tokens, 'token')}" if self.tokens else ""
        yield f"{name}: {self.count} subjects: {', '.join(found)}{tokens}"
        yield from map(_line_of_subject, self.care)
        if self.in_care > _MOST_LINES:
            left = self.in_care - _MOST_LINES
            yield f"{name}: {left} more that need care: 'brokerctl status --json' has all"


def _print_all(home: Home, rows: list[GrantStatus], now: float) -> None:
    others: dict[str, _Subjects] = {}
    damaged = 0
    for one in of_subjects(home.store, home.plan.profiles, home.key_of, now):
        if one is None:
            damaged += 1
        else:
            others.setdefault(one.profile.name, _Subjects()).add(one, now)
    for own in rows:
        subjects = others.get(own.profile.name)
        if subjects is None or own.state != NONE:  # else its login is not the one that is missing
            typer.echo(_line(own))
        for line in subjects.lines(own.profile.name) if subjects else ():
            typer.echo(line)
    if not rows:
        typer.echo("no profiles yet: run 'brokerctl profile add NAME'")
    if damaged:
        text = count_of(damaged, "grant that does not open", "grants that do not open")
        typer.echo(f"{text}: run 'brokerctl store check'")


def _print_subject(rows: list[GrantStatus], subject: str) -> None:
    for one in rows:
        typer.echo(_line_of_subject(one))
    if not rows:
        typer.echo(f"no profile holds anything for {safe(subject)}")


def _print_rest(
    strays: Iterable[Grant], counts: dict[str, int | None], key: KeyState | None
) -> None:
    more = 0
    for shown, stray in enumerate(strays, 1):
        if shown > _MOST_LINES:
            more += 1
            continue
        who = f" as {stray.sub}" if stray.sub else ""
        text = f"also an older grant{who}, of other settings (run 'brokerctl revoke"
        typer.echo(safe(f"{stray.profile}: {text} {stray.profile}')", 400))
    if more:
        typer.echo(f"{more} more older grants: 'brokerctl status --json' has all")
    if counts["revocations_queued_for"]:
        typer.echo("some revocations are queued: each 'brokerctl status' tries again")
    if counts["kept"]:
        typer.echo(f"kept for other tools: {count_of(counts['kept'], 'credential')}")
    if key:
        typer.echo(f"key: {key}")


def _line_of_subject(one: GrantStatus) -> str:
    return _line(one, f"{one.profile.name} for {safe(one.key.subject or '-')}")


def _line(one: GrantStatus, name: str = "") -> str:
    style = "good" if one.state in FINE else "care" if one.state == NONE else "bad"
    state = paint(safe(one.state), style, is_on=is_wanted(_STDOUT))
    text = ""
    if one.grant is not None and one.grant.sub and one.state == HELD:
        text += f" as {one.grant.sub}"
    if one.tokens:
        until = freshness.timestamp(one.tokens_end) if one.tokens_end else None
        text += f", {count_of(one.tokens, 'token')} until {until}"
    if one.ends_at and one.state == HELD:
        text += f", its login ends at {freshness.timestamp(one.ends_at)}"
    if one.todo:
        text += f" ({one.todo})"
    return f"{name or one.profile.name}: {state}{safe(text)}"
