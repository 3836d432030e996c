"""What lies in the audit folder, whoever wrote it: lines, counters, and questions about it."""

from __future__ import annotations

import atexit
import itertools
import json
import math
import pathlib
import shutil
import tempfile
from typing import Any

from brokerctl.audit import show
from brokerctl.audit.filter import RecordFilter
from brokerctl.audit.read import find_records, parse_moment
from brokerctl.audit.record import MAX_BYTES, START_OF_CHAIN, close_line, find_head, render_body
from brokerctl.audit.repeats import read_counters
from brokerctl.errors import AuditError
from brokerctl.jsonlite import dumps
from tests.audit_log import RING, SMALL, START, SmallLog
from tests.fuzz import driving as some
from tests.fuzz.driving import Target, bent, mutated

PATH = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-"))
atexit.register(shutil.rmtree, PATH, ignore_errors=True)
NUMBERS = itertools.count()
REQUESTER = {"uid": 0, "pid": 7, "exe": "/usr/bin/git", "tool": "git", "session": "1f", "ci": None}


def log() -> SmallLog:
    """Make an empty log in a folder of its own."""
    path = PATH / str(next(NUMBERS))
    path.mkdir()
    return SmallLog(path, rotate=SMALL)


def made() -> tuple[bytes, bytes]:
    """Write a log of two files, and return them."""
    small = log()
    decision = {"effect": "deny", "rule": "r"}
    small.fill(2, requester=REQUESTER, scopes=["a"])
    small.log.append("token.denied", {"profile": "p", "decision": decision})
    closed = next(name for name in small.names() if name.startswith("log-"))
    small.fill(1)
    return small.read(closed), small.read()


CLOSED, OPEN = made()
WORDS = (
    *(b'"event":"log.repaired"', b'"event":"log.tampered"', b'"event":"log.accepted"', b'"seq":1'),
    *(b'{"v":1,"seq":', b'","mac":"', b',"kid":2', b"0" * 64, OPEN, OPEN[: len(OPEN) // 2]),
)


def judge(data: tuple[bytes, bytes]) -> None:
    """Verify a damaged log, ask it, go on in it, and verify it again; say all of it."""
    small = log()
    try:
        small.write(data[0], "log-1")
        small.write(data[1])
        ask(small)
        try:
            small.log.append("token.handed_out", {"profile": "p"}, durable=False)
        except AuditError:
            pass
        ask(small)
    finally:
        small.log.folder.close()
        shutil.rmtree(small.path.parent)


def ask(small: SmallLog) -> None:
    """Show the verdict and the records as people and as scripts get them."""
    for parse in (False, True):
        report = small.verify(parse=parse)
        dumps(show.report_json(report))
        assert all(line.isprintable() for line in show.report_lines(report))
    for match in (
        RecordFilter(),
        RecordFilter(profile="p", since="2026", requester="git", session="1f"),
    ):
        for found in find_records(small.log.folder, match):
            dumps(show.record_json(found))
            assert show.record_line(found).isprintable()


def show_fields(data: bytes) -> None:
    """Show a record with whatever fields there are."""
    small = log()
    try:
        small.write(data.replace(b"\n", b" ") + b"\n")
        ask(small)
    finally:
        small.log.folder.close()
        shutil.rmtree(small.path.parent)


def write_fields(fields: dict[str, Any]) -> None:
    """Write a record of whatever a request held: one line that fits and continues the chain."""
    line, head = close_line(RING, START_OF_CHAIN, render_body("x", fields, START))
    assert len(line) <= MAX_BYTES
    assert line.count(b"\n") == 1
    assert find_head(RING, line[:-1]) == head
    json.loads(line)


RECORD = {
    "v": 1,
    "seq": 1,
    "kid": 1,
    "time": "2026-01-05T09:00:00.000000Z",
    "event": "token.denied",
    "profile": "p",
    "requester": REQUESTER,
    "decision": {"effect": "deny", "rule": "r"},
    "fingerprint": "0f",
    "scopes": ["a"],
    "outcome": "denied",
    "count": 2,
    "prev": "0" * 64,
    "mac": "0" * 64,
}
MOMENTS = some.mapped(
    mutated(
        [
            b"2026-11-23",
            b"2026-11-23T09:00:00Z",
            b"0001-01-01T00:00:00+14:00",
            b"999999999d",
            b"2h",
        ],
        (b"9999-12-31T23:59:59.999999-23:59", b"-W01", b"+23:59", b"T24", b"0001"),
    ),
    some.as_text,
)


def finite(value: object) -> object:
    """Return a value that a field of ours can have: times that issuers say are cut to a year."""
    return 1.5 if isinstance(value, float) and not math.isfinite(value) else value


FINITE = some.mapped(some.odd_value, finite)
INNER = some.one_of(FINITE, some.lists(FINITE, 3), some.table(some.any_text, FINITE, 4))
FIELDS = some.table(some.mapped(some.any_text, "x".__add__), INNER, 6)
TARGETS: dict[str, Target] = {
    "damaged logs": Target(some.tuples(mutated([CLOSED], WORDS), mutated([OPEN], WORDS)), judge),
    "fields of records": Target(bent(RECORD), show_fields),
    "counters": Target(
        mutated([b"1 7 1795476591250000 2 " + b"0" * 64 + b" " + b"0" * 64 + b"\n"]),
        lambda data: read_counters(RING, data),
    ),
    "times of questions": Target(MOMENTS, lambda text: parse_moment(text, START)),
    "what is recorded": Target(FIELDS, write_fields),
}
