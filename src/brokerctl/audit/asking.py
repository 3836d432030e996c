"""A question about the log, as a command line asks it: words in, records out."""

from __future__ import annotations

from brokerctl.audit.query import Match, find_records, follow_records, parse_moment
from brokerctl.audit.repair import accept, repair
from brokerctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerctl.audit.append import Log
    from brokerctl.audit.query import Found
    from brokerctl.audit.report import Report
    from brokerctl.model import Requester
    from brokerctl.platform.private_files import Folder

_NEWEST = 10  # shown before following


def make_match(now: float, *, since: str | None, until: str | None, **words: str | None) -> Match:
    """Return what a record must be; UsageError for a time that is none."""
    return Match(
        since=parse_moment(since, now) if since else None,
        until=parse_moment(until, now) if until else None,
        **words,
    )


def ask(folder: Folder, match: Match, limit: int | None, *, follow: bool) -> Iterable[Found]:
    """Return what matches, oldest first; `follow` goes on as the log grows, without end."""
    if follow:
        return follow_records(folder, match, _NEWEST if limit is None else limit)
    return find_records(folder, match, limit)


def check_reason(reason: str | None, *, accepted: bool) -> None:
    """Refuse to accept what is wrong without saying why, and a reason for nothing."""
    if accepted and not (reason and reason.strip()):
        raise UsageError("--accept needs a reason", hint="add --reason 'why it is all right'")
    if reason and not accepted:
        raise UsageError("--reason goes with --accept")


def mend(log: Log, requester: Requester, reason: str | None) -> Report:
    """Repair the log, with a reason also accept what is wrong; return the judgement after it."""
    done = accept(log, requester, reason) if reason else repair(log, requester)
    return done.report
