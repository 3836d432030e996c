"""`brokerctl approve`: answer, from another terminal, what a rule wants a person to be asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brokerctl import jsonlite
from brokerctl.broker.question import (
    COMMAND,
    ELSEWHERE,
    MOST_LEASE_S,
    Answer,
    make_lease_answer,
    render_lease,
    render_lines,
)
from brokerctl.cli.app import make_app
from brokerctl.config.duration import render_duration
from brokerctl.config.fields import duration
from brokerctl.errors import UsageError
from brokerctl.freshness import timestamp
from brokerctl.home import open_home
from brokerctl.store import approvals
from brokerctl.text import safe

if TYPE_CHECKING:
    from brokerctl.home import Home
    from brokerctl.store.values import ApprovalQuestion, Lease

_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="As `approve list` shows it.")]
_TOOL = "approve"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    approve = make_app()
    approve.callback()(_top)
    approve.command("list")(list_)
    approve.command("yes")(yes)
    approve.command("no")(no)
    app.add_typer(approve, name="approve")


def _top() -> None:
    """Answer what a rule wants a person to be asked.

    A request waits for an answer from here if the configuration has `approve = { wait = "60s" }`,
    or while it is asked at its own terminal.

    \b
      brokerctl approve list
      brokerctl approve yes 3f9a01bc
      brokerctl approve yes 3f9a01bc --for 15m --uses 3
      brokerctl approve no 3f9a01bc
    """


def list_(json: _JSON = False) -> None:
    """List the open questions, and the leases that hold.

    \b
      brokerctl approve list
      brokerctl approve list --json
    """
    from brokerctl.broker.approval import end_leases

    home = open_home(os.environ)
    end_leases(home.store, home.log)
    questions = [one for _, one in _open_questions(home)]
    leases = [one for _, one in approvals.all_leases(home.store)]
    if json:
        body = {
            "questions": [_question_json(one) for one in questions],
            "leases": [_lease_json(one) for one in leases],
        }
        typer.echo(jsonlite.dumps({"schema": 1, **body}))
        return
    now = home.store.clock()
    lines = [line for one in questions for line in _question_lines(one, now)]
    lines += [_lease_line(one, now) for one in leases]
    typer.echo("\n".join(lines or ["nobody waits for an answer, and there is no lease"]))


def yes(
    id_: _Id,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="Allow the same again for so long: a lease."
        ),
    ] = None,
    uses: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, metavar="N", help="A lease of so many hand-outs."),
    ] = None,
    session: Annotated[
        bool, typer.Option("--session", help="A lease for the session that asks, alone.")
    ] = False,
    json: _JSON = False,
) -> None:
    """Say yes to a question: once, or with a lease.

    It has to be said at a terminal, not by a program.

    \b
      brokerctl approve yes 3f9a01bc
      brokerctl approve yes 3f9a01bc --for 15m
    """
    from brokerctl.effects.terminal import is_interactive

    if not is_interactive():
        # Security: what runs by itself is what rules ask about, and must not answer itself.
        hint = "a program that answers stands in the configuration, as approve = { command = […] }"
        raise UsageError("yes is said at a terminal", hint=hint)
    seconds = None if for_ is None else duration(for_)
    if seconds is not None and seconds > MOST_LEASE_S:
        raise UsageError(f"a lease can be {render_duration(MOST_LEASE_S)} long at most")
    lease = make_lease_answer(ELSEWHERE, seconds, uses, is_for_session=session)
    if lease is None and session:
        raise UsageError("--session goes with --for or --uses")
    closed = _answer(id_, lease or Answer(is_yes=True, by=ELSEWHERE))
    how = "once" if lease is None else render_lease(lease)
    _print(closed, f"yes, {how}", json=json)


def no(id_: _Id, json: _JSON = False) -> None:
    """Say no to a question, or end a lease.

    \b
      brokerctl approve no 3f9a01bc
    """
    home = open_home(os.environ)
    for name, lease in approvals.all_leases(home.store):
        if lease.id == id_:
            _end_lease(home, name, lease, json=json)
            return
    closed = _answer(id_, Answer(is_yes=False, by=ELSEWHERE), home)
    _print(closed, "no", json=json)


def _end_lease(home: Home, name: str, lease: Lease, *, json: bool) -> None:
    from brokerctl.broker.approval import lease_ended

    home.log.append(*lease_ended(lease, "a person ended it"), durable=True)
    approvals.drop_lease(home.store, name, lambda one: one.id == lease.id)
    body = {"question": lease.question, "answer": "no", "profile": lease.profile or None}
    text = jsonlite.dumps({"schema": 1, **body, "lease": lease.id})
    typer.echo(text if json else f"lease {lease.id} has ended")


def _answer(id_: str, answer: Answer, home: Home | None = None) -> ApprovalQuestion:
    from brokerctl.broker.approval import Approval
    from brokerctl.platform.process import read_requester

    home = home or open_home(os.environ)
    found = [(name, one) for name, one in approvals.all_questions(home.store) if one.id == id_]
    if not found:
        raise UsageError(f"no question '{id_}'", hint="run 'brokerctl approve list'")
    name, question = found[0]
    _refuse_late(question, home.store.clock())
    closed = Approval(home.store, home.log, None).close(
        name, id_, answer, read_requester(os.environ, _TOOL)
    )
    if closed.by != ELSEWHERE or (closed.answer == "yes") != answer.is_yes:
        raise _late(f"it was answered before, with {closed.answer}")
    return closed


def _refuse_late(question: ApprovalQuestion, now: float) -> None:
    if question.answer is not None:
        raise _late(f"it was answered before, with {question.answer}")
    if question.ends_at <= now:
        raise _late(f"nobody waits since {timestamp(question.ends_at)}")
    if question.by == COMMAND:
        raise UsageError("a command answers it, as the configuration has it")


def _late(why: str) -> UsageError:
    return UsageError(f"too late: {why}", hint="run 'brokerctl approve list'")


def _open_questions(home: Home) -> list[tuple[str, ApprovalQuestion]]:
    now = home.store.clock()
    return [
        (name, one)
        for name, one in approvals.all_questions(home.store)
        if one.answer is None and one.ends_at > now
    ]


def _about(one: ApprovalQuestion | Lease) -> dict[str, Any]:
    found: dict[str, Any] = jsonlite.loads(one.about.encode())
    return found


def _question_lines(one: ApprovalQuestion, now: float) -> list[str]:
    left = render_duration(max(1, int(one.ends_at - now)))
    first = f"question {one.id}, for {left} more"
    return [first, *render_lines(_about(one))[1:], ""]


def _lease_line(one: Lease, now: float) -> str:
    left = render_duration(max(1, int(one.ends_at - now)))
    uses = [count.uses - count.used for count in one.counts if count.uses is not None]
    more = f", {min(uses)} uses" if uses else ""
    about = _about(one)
    whose = f"{about['requester']['exe']} ({about['requester']['tool']})"
    what = about["profile"] or about["what"]
    return safe(f"lease {one.id}, for {left} more{more}: {what} for {whose}", 400)


def _asked_json(one: ApprovalQuestion | Lease) -> dict[str, object]:
    about = _about(one)
    same = ("profile", "what", "subject", "scopes", "resource", "audience", "url", "max_ttl_s")
    more = ("purpose", "rule", "layer")
    requester = about["requester"]
    return {
        **{name: about[name] for name in (*same, *more)},
        "requester": requester["exe"],
        "tool": requester["tool"],
    }


def _question_json(one: ApprovalQuestion) -> dict[str, object]:
    return {"id": one.id, "expires_at": timestamp(one.ends_at), "by": one.by} | _asked_json(one)


def _lease_json(one: Lease) -> dict[str, object]:
    left = [count.uses - count.used for count in one.counts if count.uses is not None]
    terms = {"uses_left": min(left) if left else None, "session": one.session}
    name = {"id": one.id, "question": one.question, "expires_at": timestamp(one.ends_at)}
    return {**name, **terms, **_asked_json(one)}


def _print(closed: ApprovalQuestion, words: str, *, json: bool) -> None:
    body = {
        "question": closed.id,
        "answer": closed.answer,
        "profile": closed.profile or None,
        "lease": closed.lease,
    }
    lease = f" (lease {closed.lease})" if closed.lease else ""
    line = f"question {closed.id}: {words}{lease}"
    typer.echo(jsonlite.dumps({"schema": 1, **body}) if json else line)
