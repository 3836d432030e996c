"""What `verify` says: problems, what explains them, and whether somebody accepted them."""

from __future__ import annotations

from brokerctl.audit.record import hash_bytes
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerctl.audit import LogKeys

_ACCEPTED = b"accepted"


class Problem(Value):
    """One place where the log is not what was written.

    `kind`: edited (lines changed, added or noticed as such by a writer), gap (records are missing
    or out of order), truncated (a segment's beginning or end is missing), torn (a write was cut
    short and no later record explains it), unreadable (a right MAC over what is no record).
    """

    kind: str
    segment: str
    line: int  # in the segment, from 1
    offset: int  # bytes, where it begins
    after: int  # the last right sequence number before it
    digest: str  # hash of the bytes in question
    message: str


class Notice(Value):
    """Something that a later record explains: no problem, and worth knowing."""

    segment: str
    line: int
    seq: int  # of the record that explains it
    message: str


class Report(Value):
    """The judgement of the whole log."""

    records: int  # with a right MAC
    segments: int
    last_seq: int
    problems: tuple[Problem, ...]
    accepted: tuple[Problem, ...]
    notices: tuple[Notice, ...]

    @property
    def is_whole(self) -> bool:
        """Say whether nothing is wrong but what was accepted."""
        return not self.problems


def digest_problems(ring: LogKeys, problems: Sequence[Problem], key_id: int | None = None) -> str:
    """Return what a `log.accepted` record holds: it accepts exactly these problems, in order.

    The names of segments are left out, since `log` gets another one when it is closed.
    """
    lines = [f"{p.kind} {p.after} {p.digest}" for p in problems]
    return hash_bytes(ring, _ACCEPTED, "\n".join(lines).encode(), key_id)
