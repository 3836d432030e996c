"""Repairs after damage: closes what can't be continued, records who accepted what, and why."""

from __future__ import annotations

from brokerctl.audit.append import Log
from brokerctl.audit.recover import SEARCH_WHOLE, ChainLostError
from brokerctl.audit.verify import digest_problems, verify
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.audit.verify import Report
    from brokerctl.model import Requester


class Repaired(Value):
    """What a repair did: the segment that it closed, if any, and the report after it."""

    closed: str | None
    report: Report


def repair(log: Log, requester: Requester) -> Repaired:
    """Make the log writable again and say what is wrong with it; nothing is ever removed.

    As with every append, a torn end or an edited last line is explained by the first record that is
    written, here before `log.checked`. If no right line is near enough for that, the segment is
    closed and a new one begins with `log.continued`, which names the closed one and its damage.
    """
    patient = Log(
        log.folder,
        log.ring,
        system=log.system,
        clock=log.clock,
        rotate=log.rotate,
        renew=log.renew,
    )
    closed = None
    fields = {"requester": requester}
    try:
        patient.append("log.checked", fields, durable=True)
    except ChainLostError:
        patient.search = SEARCH_WHOLE
        closed = patient.close_segment()
        patient.append("log.checked", fields, durable=True)
    log.ring = patient.ring
    return Repaired(closed=closed, report=verify(log.folder, log.ring))


def accept(log: Log, requester: Requester, reason: str) -> Repaired:
    """Repair, and record that these problems, and no others, are known and accepted."""
    done = repair(log, requester)
    if done.report.is_whole:
        return done
    problems = (*done.report.accepted, *done.report.problems)
    fields = {
        "digest": digest_problems(log.ring, problems),
        "problems": len(done.report.problems),
        "reason": reason,
        "requester": requester,
    }
    log.append("log.accepted", fields, durable=True)
    return done.replace(report=verify(log.folder, log.ring))
