"""Renders records and problems as safe text of 80 columns and as JSON; parses filter options."""

from __future__ import annotations

from brokerctl.audit.filter import RecordFilter
from brokerctl.audit.read import find_records, follow_records, parse_moment, recorded_sessions
from brokerctl.audit.repair import accept, repair
from brokerctl.errors import UsageError
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from brokerctl.audit.append import Log
    from brokerctl.audit.read import FoundRecord
    from brokerctl.audit.verify import Report
    from brokerctl.model import Requester
    from brokerctl.platform.private_files import Folder

COLUMNS = 80
_SHOWN = 8  # digits of a fingerprint in a line
_SESSION_SHOWN = 12  # of a session's id, where eight may be those of two
RECORD_HEADINGS = ("time", "event", "profile", "outcome", "fingerprint", "requester")
_NEWEST = 10  # shown before following


def record_json(found: FoundRecord) -> dict[str, Any]:
    """Return one line of the JSON answer: the record as it is, unknown fields too."""
    if found.fields is None:
        return {"schema": 1, "damaged": {"segment": found.segment, "bytes": len(found.line)}}
    return {"schema": 1, **found.fields}


def record_cells(found: FoundRecord) -> tuple[str, ...]:
    """Return the cells of one record under RECORD_HEADINGS."""
    fields = found.fields
    if fields is None:
        return (f"a damaged line of {len(found.line)} bytes in {found.segment}", "", "", "", "", "")
    when = _word(fields.get("time")).partition(".")[0]
    return (
        f"{when}Z" if when else "",
        _word(fields.get("event")),
        _word(fields.get("profile")) or _profiles(fields),
        _outcome(fields),
        _word(fields.get("fingerprint"))[:_SHOWN],
        _requester(fields.get("requester")),
    )


def record_line(found: FoundRecord) -> str:
    """Return one record as one line."""
    cells = record_cells(found)
    if found.fields is None:
        return safe(cells[0], COLUMNS)
    line = f"{cells[0]} {cells[1]:<16} {cells[2]:<8} {cells[3]:<7} {cells[4]:<8} {cells[5]}"
    return safe(line.rstrip(), 2 * COLUMNS)  # cut late, since the requester stands last


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _profiles(fields: dict[str, Any]) -> str:
    """Return the profiles of a session, where it begins or ends."""
    found = fields.get("profiles")
    is_session = _word(fields.get("event")).startswith("session.")
    return " ".join(map(_word, found)) if is_session and isinstance(found, list) else ""


def _outcome(fields: dict[str, Any]) -> str:
    served = fields.get("serves")
    if isinstance(served, list):
        return ",".join(map(_word, served))
    if fields.get("event") == "session.ended":
        return _word(fields.get("reason"))
    decision = fields.get("decision")
    if isinstance(decision, dict) and decision.get("effect") == "deny":
        return f"denied by {_word(decision.get('rule'))}"
    count = fields.get("count", fields.get("skipped"))
    return _word(fields.get("outcome")) or ("" if count is None else str(count))


def _requester(requester: object) -> str:
    if not isinstance(requester, dict):
        return ""
    exe = _word(requester.get("exe")).rpartition("/")[2]
    words = [_word(requester.get("tool")), exe, str(requester.get("pid") or "")]
    return " ".join(word for word in dict.fromkeys(words) if word)


def report_json(report: Report) -> dict[str, Any]:
    """Return the JSON answer of `verify`."""
    return {
        "schema": 1,
        "whole": report.is_whole,
        "records": report.records,
        "segments": report.segments,
        "last_seq": report.last_seq,
        "problems": [problem.as_dict() for problem in report.problems],
        "accepted": [problem.as_dict() for problem in report.accepted],
        "notices": [notice.as_dict() for notice in report.notices],
    }


def report_lines(report: Report) -> list[str]:
    """Return what `verify` says to people; the problems stand last."""
    some = [(f"{n.segment}:{n.line}: notice: ", n.message) for n in report.notices]
    some += [(f"{p.segment}:{p.line}: accepted: ", p.message) for p in report.accepted]
    some += [(f"{p.segment}:{p.line}: {p.kind}: ", p.message) for p in report.problems]
    lines = [safe(start + message) for start, message in some]
    files = "1 file" if report.segments == 1 else f"{report.segments} files"
    records = "1 record" if report.records == 1 else f"{report.records} records"
    verdict = "the chain is whole" if report.is_whole else "THE CHAIN IS NOT WHOLE"
    return [*lines, f"{records} in {files}, the last is {report.last_seq}: {verdict}"]


def make_match(
    now: float, *, since: str | None, until: str | None, **words: str | None
) -> RecordFilter:
    """Return the filter of these options; UsageError for a malformed time."""
    return RecordFilter(
        since=parse_moment(since, now) if since else None,
        until=parse_moment(until, now) if until else None,
        **words,
    )


def refuse_ambiguous(folder: Folder, session: str | None) -> None:
    """Raise UsageError where the beginning of an id is that of several sessions."""
    found = recorded_sessions(folder, session) if session else []
    if len(found) > 1 and session not in found:
        newest = ", ".join(one[:_SESSION_SHOWN] for one in found[-4:])
        raise UsageError(f"'{session}' begins the ids of {len(found)} sessions: {newest}")


def ask(
    folder: Folder, match: RecordFilter, limit: int | None, *, follow: bool
) -> Iterable[FoundRecord]:
    """Return the records that match, oldest first; with `follow` also new ones, without end."""
    if follow:
        return follow_records(folder, match, _NEWEST if limit is None else limit)
    return find_records(folder, match, limit)


def check_reason(reason: str | None, *, accepted: bool) -> None:
    """Raise UsageError for --accept without a reason, or a reason without --accept."""
    if accepted and not (reason and reason.strip()):
        raise UsageError("--accept needs a reason", hint="add --reason 'why it is all right'")
    if reason and not accepted:
        raise UsageError("--reason goes with --accept")


def mend(log: Log, requester: Requester, reason: str | None) -> Report:
    """Repair the log; with a reason also accept its problems. Return the report after that."""
    done = accept(log, requester, reason) if reason else repair(log, requester)
    return done.report
