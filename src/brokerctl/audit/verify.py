"""Verifies the chain of all segments, and tells edits, gaps, truncation and torn writes apart.

Whole lines are judged by position, 200,000 and more a second; only lines that are out of order, and
the log's own records, are parsed. Here hashlib computes the MAC, while a writer uses libsodium.
"""

from __future__ import annotations

from hashlib import blake2b

from brokerctl.audit.read import all_segments, read_lines
from brokerctl.audit.record import (
    START_OF_CHAIN,
    Head,
    find_key,
    find_numbers,
    hash_bytes,
    is_shaped,
)
from brokerctl.audit.recover import SKIPPED, is_torn
from brokerctl.jsonlite import loads
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from brokerctl.audit import LogKeys
    from brokerctl.platform.private_files import Folder

_ACCEPTED_KIND = b"accepted"
_OWN_EVENT = b'"event":"log.'
_OWN_EVENT_END = 128  # the event's name stands before this byte
_PERSON = b"brokerctl/1"  # as sodium.keyed_hash; a test holds both to the same answers
_REPAIRED, _TAMPERED, _ACCEPTED = "log.repaired", "log.tampered", "log.accepted"
_TEXTS = ("time", "event", "prev", "mac")


class Problem(Value):
    """One place where the log differs from what was written.

    `kind`: edited (lines changed or added, found now or by a writer), gap (records are missing
    or out of order), truncated (a segment's beginning or end is missing), torn (a write was cut
    short and no later record explains it), unreadable (the MAC is right, but it is not a record).
    """

    kind: str
    segment: str
    line: int  # in the segment, from 1
    offset: int  # bytes, where it begins
    after: int  # the last verified sequence number before it
    digest: str  # hash of the bytes in question
    message: str


class Notice(Value):
    """Damage that a later record explains: worth knowing, but no problem."""

    segment: str
    line: int
    seq: int  # of the record that explains it
    message: str


class Report(Value):
    """The result of verifying the whole log."""

    records: int  # with a right MAC
    segments: int
    last_seq: int
    problems: tuple[Problem, ...]
    accepted: tuple[Problem, ...]
    notices: tuple[Notice, ...]

    @property
    def is_whole(self) -> bool:
        """Return whether there is no problem but those that were accepted."""
        return not self.problems


def digest_problems(ring: LogKeys, problems: Sequence[Problem], key_id: int | None = None) -> str:
    """Return the hash for a `log.accepted` record, which accepts exactly these problems, in order.

    Segments' names are left out, since `log` gets another name when it is closed.
    """
    lines = [f"{p.kind} {p.after} {p.digest}" for p in problems]
    return hash_bytes(ring, _ACCEPTED_KIND, "\n".join(lines).encode(), key_id)


def verify(folder: Folder, ring: LogKeys, *, parse: bool = False) -> Report:
    """Judge the whole log as it is now; AuditError only if it can't be read at all."""
    walk = _Walk(ring, parse=parse)
    for segment in all_segments(folder, locked=True):
        walk.enter(segment.name)
        for lines, ended in read_lines(folder, segment):
            walk.read(lines, ended=ended)
    return walk.finish()


class _Walk:
    """One pass over the lines, and what it has found so far."""

    def __init__(self, ring: LogKeys, *, parse: bool) -> None:
        self.ring = ring
        self.parse = parse
        self.hashers: dict[int, Any] = {}
        self.head = START_OF_CHAIN
        self.kid = 0  # of the last verified line; 0: none yet in this segment
        self.segment = ""
        self.segments = self.records = self.line = self.offset = 0
        self.is_open = False  # the last line has no newline
        self.pending: list[bytes] = []  # the lines since the last verified one
        self.place = ("", 0, 0)  # where these begin
        self.problems: list[Problem] = []
        self.accepted = 0  # how many of them
        self.notices: list[Notice] = []

    def enter(self, name: str) -> None:
        """Begin another segment."""
        self.segment = name
        self.segments += 1
        self.line = self.offset = self.kid = 0

    def read(self, lines: list[bytes], *, ended: bool) -> None:
        """Take one block of lines."""
        index = 0
        while index < len(lines):
            if ended and self.kid and not self.pending and not self.parse:
                index = self._run(lines, index)
            if index < len(lines):
                self._step(lines[index], ended=ended)
                index += 1

    def _run(self, lines: list[bytes], start: int) -> int:
        """Verify lines that continue the chain; return the index of the first that does not."""
        prev, seq, kid = self.head.mac, self.head.seq, self.kid
        hasher, offset, index = self.hashers[kid], self.offset, start
        for line in lines[start:] if start else lines:
            digest = hasher.copy()
            digest.update(line[:-74])
            mac = line[-66:-2]
            if (
                digest.hexdigest().encode() != mac
                or line[-139:-75] != prev
                or not line.startswith(b'{"v":1,"seq":%d,"kid":%d,' % (seq + 1, kid))
                or line[-74:-66] != b',"mac":"'
                or line[-2:] != b'"}'
                or line.find(_OWN_EVENT, 0, _OWN_EVENT_END) >= 0
            ):
                break
            prev = mac
            seq += 1
            offset += len(line) + 1
            index += 1
        self.head = Head(seq=seq, mac=prev)
        self.records += index - start
        self.line += index - start
        self.offset = offset
        return index

    def _step(self, line: bytes, *, ended: bool) -> None:
        numbers = find_numbers(line) if is_shaped(line) else None
        if numbers is not None and self._is_right(line, numbers[1]):
            self._take(line, Head(seq=numbers[0], mac=line[-66:-2]), numbers[1])
            self.is_open = not ended
        else:
            if not self.pending:
                self.place = (self.segment, self.line + 1, self.offset)
            self.pending.append(line + b"\n" if ended else line)
        self.line += 1
        self.offset += len(line) + ended

    def _is_right(self, line: bytes, kid: int) -> bool:
        hasher = self.hashers.get(kid)
        if hasher is None:
            key = find_key(self.ring, kid)
            if key is None:
                return False
            hasher = self.hashers[kid] = blake2b(digest_size=32, key=key, person=_PERSON)
        digest = hasher.copy()
        digest.update(line[:-74])
        return bool(digest.hexdigest().encode() == line[-66:-2])

    def _take(self, line: bytes, head: Head, kid: int) -> None:
        """Take a line with a right MAC: judge those before it, and if it continues the chain."""
        is_own = line.find(_OWN_EVENT, 0, _OWN_EVENT_END) >= 0
        fields = self._fields(line, head) if is_own or self.parse else {}
        event = str(fields.get("found", fields.get("event")))
        if is_own and event in {_REPAIRED, _TAMPERED}:
            self._explain(event, fields, line, head, kid)
        elif self.pending:
            self._close_region(line, head)
        elif line[-139:-75] != self.head.mac or head.seq != self.head.seq + 1:
            self._miss(line, head)
        if is_own and event == _ACCEPTED:
            digest = digest_problems(self.ring, self.problems, kid)
            if fields.get("digest") == digest:
                self.accepted = len(self.problems)
        self.pending = []
        self.head, self.kid = head, kid
        self.records += 1

    def _fields(self, line: bytes, head: Head) -> dict[str, Any]:
        try:
            fields = loads(line)
            if all(isinstance(fields[name], str) for name in _TEXTS):
                return dict(fields)
        except (ValueError, KeyError, TypeError):
            pass
        self._add("unreadable", line, f"record {head.seq} is no JSON object with our fields")
        return {}

    def _explain(
        self, event: str, fields: dict[str, Any], line: bytes, head: Head, kid: int
    ) -> None:
        """Compare a record that explains damage with the bytes that are there."""
        region = b"".join(self.pending)
        skipped, lines = fields.get("skipped"), fields.get("lines")
        if not isinstance(skipped, int) or not isinstance(lines, int):
            skipped, lines = -1, 0
        closing = region[skipped:] if skipped >= 0 else region
        is_named = (
            closing in {b"", b"\n"}  # the newline that the explaining write put first
            and line[-139:-75] == self.head.mac
            and head.seq == self.head.seq + lines + 1
            and hash_bytes(self.ring, SKIPPED, region[:skipped], kid) == fields.get("hash")
        )
        if not is_named:
            self._add_region(region or line, f"record {head.seq} names damage that is not there")
        elif event == _TAMPERED:
            self._add_region(region[:skipped], f"noticed by record {head.seq}")
        else:
            message = f"a write was cut short after {skipped} bytes: explained by record {head.seq}"
            segment, number = self.place[:2] if region else (self.segment, self.line + 1)
            self.notices.append(Notice(segment=segment, line=number, seq=head.seq, message=message))

    def _close_region(self, line: bytes, head: Head) -> None:
        region = b"".join(self.pending)
        lines = region.removesuffix(b"\n").split(b"\n")
        self._add_region(region, "")
        ends = {self.head.mac, lines[-1][-66:-2]}
        if line[-139:-75] not in ends and head.seq != self.head.seq + len(lines) + 1:
            self._miss(line, head)

    def _miss(self, line: bytes, head: Head) -> None:
        """Report that a line with a right MAC does not continue the one before."""
        first, last = self.head.seq + 1, head.seq - 1
        kind = "truncated" if self.kid == 0 else "gap"
        if last >= first:
            which = f"record {first} is" if first == last else f"records {first} to {last} are"
            message = f"{which} missing"
        elif head.seq == first:
            message = f"record {head.seq} continues another record than {first - 1}"
        else:
            message = f"record {head.seq} is out of order: it follows record {first - 1}"
        self._add(kind, line, message)

    def _add_region(self, region: bytes, why: str) -> None:
        count = max(1, region.removesuffix(b"\n").count(b"\n") + 1)
        what = "1 line was" if count == 1 else f"{count} lines were"
        message = f"{what} edited or added after record {self.head.seq}"
        self._add("edited", region, f"{message}, {why}" if why else message, is_region=True)

    def _add(self, kind: str, data: bytes, message: str, *, is_region: bool = False) -> None:
        here = (self.segment, self.line + 1, self.offset)
        segment, number, offset = self.place if is_region and self.pending else here
        self.problems.append(
            Problem(
                kind=kind,
                segment=segment,
                line=number,
                offset=offset,
                after=self.head.seq,
                digest=blake2b(data, digest_size=32).hexdigest(),
                message=message,
            )
        )

    def finish(self) -> Report:
        """Judge the end and return the report."""
        region = b"".join(self.pending)
        if region and not is_torn(region, ends_open=not region.endswith(b"\n")):
            self._add_region(region, "")
        elif region or self.is_open:
            message = f"the last write was cut short, after record {self.head.seq}"
            self._add("torn", region, message, is_region=True)
        return Report(
            records=self.records,
            segments=self.segments,
            last_seq=self.head.seq,
            problems=tuple(self.problems[self.accepted :]),
            accepted=tuple(self.problems[: self.accepted]),
            notices=tuple(self.notices),
        )
