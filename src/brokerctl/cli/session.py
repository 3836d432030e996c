"""`brokerctl session`: what supervised commands hold, and their end, from another terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brokerctl import jsonlite, output
from brokerctl.cli import suggest
from brokerctl.cli.app import make_app
from brokerctl.cli.audit import has_room, print_table
from brokerctl.cli.revoke import PARTIAL, ending_json, ending_line
from brokerctl.cli.unfinished import tend
from brokerctl.errors import AuditError, BrokerError, UsageError, shell_word
from brokerctl.freshness import timestamp
from brokerctl.home import open_home
from brokerctl.session import inventory
from brokerctl.session.inventory import LIST_HINT, MARKED
from brokerctl.session.leftovers import ALIVE, ENDED, UNSEEN, narrowing
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.broker.revoke import Ending
    from brokerctl.home import Home
    from brokerctl.session.inventory import FoundSession, Use
    from brokerctl.store.inventory import Held

_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_ID_HELP = "As `session list` shows it, or its beginning."
_Id = Annotated[str, typer.Argument(metavar="ID", help=_ID_HELP, autocompletion=suggest.sessions)]
_AnyId = Annotated[
    str | None, typer.Argument(metavar="ID", help=_ID_HELP, autocompletion=suggest.sessions)
]
_HEADINGS = ("session", "state", "since", "until", "for", "profiles", "serves", "process")
_TIMES = ("started_at", "expires_at", "ended_at")
_LINE_CHARS = 400


def register(app: typer.Typer) -> None:
    """Add the commands."""
    session = make_app()
    session.callback()(_top)
    session.command("list")(list_)
    session.command("show")(show)
    session.command("end")(end)
    app.add_typer(session, name="session")


def _top() -> None:
    """See and end what `exec` runs, from another terminal.

    A session is listed if it has tokens of its own, files, or something that it serves. An `exec`
    with shared tokens in variables has nothing to end: it starts without an entry, and is not here.

    \b
      brokerctl session list
      brokerctl session show 3f9a
      brokerctl session end 3f9a --signal TERM
    """


def list_(json: _JSON = False) -> None:
    """List the sessions that have something to end.

    Since when and until when, for whom, with which profiles, and what they serve. What killed
    sessions left is ended first, as every command that may talk to an issuer does. A session is
    `running`, `killed` (its end failed, and is tried again), or `ended` by another command while
    its process goes on.

    \b
      brokerctl session list
      brokerctl session list --json
    """
    home = open_home(os.environ)
    tend(home)
    found = inventory.list_sessions(home.store)
    if json:
        typer.echo(jsonlite.dumps({"schema": 1, "sessions": list(map(_as_json, found))}))
    elif found and has_room():
        print_table(_HEADINGS, list(map(_cells, found)))
    else:
        lines = [_line(one) for one in found]
        typer.echo("\n".join(lines or ["no session has anything to end"]))


def show(id_: _Id, json: _JSON = False) -> None:
    """Show what one session took, and its own tokens.

    And what its flags narrow. What it took is counted in the record, of which `audit log --session`
    shows the story.

    \b
      brokerctl session show 3f9a
    """
    home = open_home(os.environ)
    tend(home)
    found = inventory.find_one(inventory.list_sessions(home.store), id_)
    if found is None:
        raise _not_running(home, id_)
    use = inventory.read_use(home.log.folder, found.session.id)
    tokens = inventory.own_tokens(home, found.session)
    if json:
        more = {"used": [one.as_dict() for one in use], "tokens": list(map(_token_json, tokens))}
        narrowed = {"narrowed": narrowing(found.session)}
        typer.echo(jsonlite.dumps({"schema": 1, **_as_json(found), **narrowed, **more}))
        return
    for line in (*_lines(found), *map(_use_line, use), *map(_token_line, tokens)):
        typer.echo(safe(line, _LINE_CHARS))


def end(
    id_: _AnyId = None,
    everything: Annotated[bool, typer.Option("--all", help="Every session.")] = False,
    signal: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Then signal its process: TERM, INT, HUP or QUIT."),
    ] = None,
    json: _JSON = False,
) -> int:
    """End a session from here.

    Its own tokens are revoked, its files are removed, and what it serves is closed. The command
    that it runs goes on, and finds its tokens dead; --signal ends that too. The session can be in
    another container or on another host. Exit code 9: not all of its tokens are dead, or its
    process could not be signalled. To end what had ended already is no error.

    \b
      brokerctl session end 3f9a
      brokerctl session end 3f9a --signal TERM
      brokerctl session end --all
    """
    from brokerctl.session.remote_end import SIGNALS

    if bool(id_) == everything:
        raise UsageError("name one session, or say --all", hint=LIST_HINT)
    name = None if signal is None else signal.upper().removeprefix("SIG")
    if name is not None and name not in SIGNALS:
        raise UsageError(f"'{signal}' is no signal for this", hint=f"write {' or '.join(SIGNALS)}")
    home = open_home(os.environ)
    found = inventory.list_sessions(home.store)
    if id_ is not None:
        named = inventory.find_one(found, id_)
        if named is None:
            return _say_ended(home, id_, json=json)
        found = [named]
    done = [_Done(one) for one in found]
    for number, one in enumerate(done, 1):
        one.end(home, name)
        if isinstance(one.error, AuditError):
            done = done[:number]  # nothing is ended without a record
    code = _answer(done, json=json)
    if code == 0:
        tend(home)
    return code


class _Done:
    """One session that was ended here, and what came of it."""

    def __init__(self, found: FoundSession) -> None:
        self.found = found
        self.endings: list[Ending] = []
        self.error: BrokerError | None = None
        self.unsignalled: BrokerError | None = None
        self.signal: str | None = None  # its name, if it was sent

    def end(self, home: Home, signal: str | None) -> None:
        """Mark it, revoke, and signal its process at last."""
        from brokerctl.session.remote_end import SIGNALS, end_session, send_signal

        self.endings, self.error = end_session(home, self.found)
        if signal is None or isinstance(self.error, AuditError):
            return
        try:
            if send_signal(self.found.session, SIGNALS[signal]):
                self.signal = signal
        except BrokerError as error:
            self.unsignalled = error

    @property
    def errors(self) -> list[BrokerError]:
        """Return what went wrong."""
        return [one for one in (self.error, self.unsignalled) if one is not None]

    @property
    def is_over(self) -> bool:
        """Return whether nothing of it is alive, queued or untried."""
        return not self.errors and all(one.is_dead for one in self.endings)

    def as_json(self) -> dict[str, Any]:
        """Return it as the JSON answer has it."""
        found = self.found
        return {
            "id": found.session.id,
            "state": found.state,
            "supervisor": found.supervisor,
            "signal": self.signal,
            "endings": list(map(ending_json, self.endings)),
        }

    def lines(self) -> Iterator[str]:
        """Yield a line for it, and one for each of its tokens."""
        one, how = self.found.session, _AFTER[self.found.supervisor]
        if self.signal:
            how = f"its process {one.pid} was sent {self.signal}"
        again = ", again" if self.found.state == MARKED else ""
        yield f"session {self.found.short}: ended{again} ({how.format(pid=one.pid, host=one.host)})"
        for ending in self.endings:
            yield f"  {ending_line(ending)}"


_AFTER = {
    ALIVE: "its process {pid} goes on without them",
    UNSEEN: "its process {pid} on {host} can't be seen from here",
    ENDED: "its process has ended",
}


def _answer(done: list[_Done], *, json: bool) -> int:
    is_over = all(one.is_over for one in done)
    if json:
        sessions = [one.as_json() for one in done]
        typer.echo(jsonlite.dumps({"schema": 1, "all_dead": is_over, "sessions": sessions}))
    elif not done:
        typer.echo("no session has anything to end")
    for one in () if json else done:
        if one.error is None or one.endings:
            typer.echo("\n".join(safe(line, _LINE_CHARS) for line in one.lines()))
    for error in (error for one in done for error in one.errors):
        output.print_error(error, is_json=json)
    if len(done) == 1 and done[0].error is not None and not done[0].endings:
        return done[0].error.exit_code
    return 0 if is_over else PARTIAL


def _say_ended(home: Home, start: str, *, json: bool) -> int:
    """Answer for a session that has ended; UsageError where there never was one."""
    known = inventory.find_recorded(home.log.folder, start)
    if known is None:
        raise _no_session(start)
    if json:
        typer.echo(jsonlite.dumps({"schema": 1, "all_dead": True, "sessions": []}))
    else:
        typer.echo(f"session {safe(inventory.shorten(known, ()))} had ended already")
    return 0


def _not_running(home: Home, start: str) -> UsageError:
    known = inventory.find_recorded(home.log.folder, start)
    if known is None:
        return _no_session(start)
    short = inventory.shorten(known, ())
    hint = f"run 'brokerctl audit log --session {shell_word(short)}' for its story"
    return UsageError(f"session '{short}' has ended, or has nothing to end", hint=hint)


def _no_session(start: str) -> UsageError:
    return UsageError(f"no session '{start}'", hint=LIST_HINT)


def _as_json(found: FoundSession) -> dict[str, Any]:
    body = inventory.as_json(found)
    return body | {name: _time(body[name]) for name in _TIMES}


def _time(moment: float | None) -> str | None:
    return None if moment is None else timestamp(moment)


def _whom(found: FoundSession) -> str:
    """Return for whom it is: the agent, the program, the purpose."""
    one = found.session
    agent = f"agent {one.agent}" if one.agent else ""
    return ", ".join(filter(None, (agent, one.command, one.purpose)))


def _process(found: FoundSession) -> str:
    one = found.session
    return f"{one.pid}@{one.host}" if found.supervisor == UNSEEN else str(one.pid)


def _served(found: FoundSession) -> list[str]:
    one = found.session
    return [*(["files"] if one.files else []), *one.serves]


def _cells(found: FoundSession) -> tuple[str, ...]:
    one = found.session
    return (
        found.short,
        found.state,
        timestamp(one.at),
        _time(one.ends_at) or "",
        _whom(found),
        " ".join(one.asked or one.profiles),
        " ".join(_served(found)),
        _process(found),
    )


def _line(found: FoundSession) -> str:
    one = found.session
    until = f" until {timestamp(one.ends_at)}" if one.ends_at is not None else ""
    served = f" by {', '.join(_served(found))}" if _served(found) else ""
    profiles = ", ".join(one.asked or one.profiles)
    whom = _whom(found) or "a command"
    text = f"{found.short} {found.state} since {timestamp(one.at)}{until}: {whom}"
    return safe(f"{text} with {profiles}{served} (process {_process(found)})", _LINE_CHARS)


def _lines(found: FoundSession) -> Iterator[str]:
    """Yield what is known of a session, a line for each thing that is."""
    one = found.session
    until = "" if one.ended_at is None else f" since {timestamp(one.ended_at)}"
    where = {UNSEEN: " (can't be seen from here)", ENDED: " (has ended)"}.get(found.supervisor, "")
    child = f", its child {one.child}" if one.child is not None else ""
    own = ", ".join(one.profiles)
    told = {
        "session": one.id,
        "state": f"{found.state}{until}",
        "since": timestamp(one.at),
        "until": _time(one.ends_at),
        "agent": one.agent,
        "purpose": one.purpose,
        "command": one.command,
        "profiles": ", ".join(one.asked or one.profiles),
        "own tokens of": own,
        "serves": ", ".join(one.serves),
        "files": one.files,
        "process": f"{one.pid} on {one.host}{where}{child}",
    }
    narrowed = narrowing(one)
    told |= {f"narrowed {name}": _words(value) for name, value in narrowed.items()}
    for name, value in told.items():
        if value:
            yield f"{name}: {value}"


def _words(value: object) -> str:
    if isinstance(value, list):
        return " ".join(value) or "none"
    return "" if value is None else str(value)


def _use_line(use: Use) -> str:
    counts = f"{use.handed_out} handed out, {use.refused} refused"
    return f"took of {use.profile or 'no profile'}: {counts}, the last at {use.last_at}"


def _token_json(held: Held) -> dict[str, Any]:
    return {
        "profile": held.profile,
        "fingerprint": held.fingerprint,
        "scopes": list(held.scopes),
        "issued_at": _time(held.issued_at),
        "expires_at": _time(held.expires_at),
        "status": held.status,
    }


def _token_line(held: Held) -> str:
    scopes = f", {' '.join(held.scopes)}" if held.scopes else ""
    until = _time(held.expires_at) or "its issuer ends it"
    return f"token of {held.profile}: {held.fingerprint} {held.status} until {until}{scopes}"
