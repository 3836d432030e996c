"""Checks the record: is its chain whole, and does the clock agree with it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from brokerctl.audit.lock import LOG
from brokerctl.audit.read import all_segments
from brokerctl.audit.verify import verify
from brokerctl.doctor import PROBLEM, WARNING, Finding
from brokerctl.text import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.home import Home

_AHEAD_S = 300.0


def check(home: Home) -> Iterator[Finding]:
    """Verify the chain from its first record."""
    report = verify(home.log.folder, home.ring)
    if report.is_whole:
        yield Finding(what=f"log: the chain is verified, {count_of(report.records, 'record')}")
    else:
        yield Finding(
            what=f"log: {count_of(len(report.problems), 'place')} where the chain is broken",
            state=PROBLEM,
            hint="run 'brokerctl audit verify'",
        )
    sizes = [
        (segment.name, segment.size) for segment in all_segments(home.log.folder, locked=False)
    ]
    total = sum(size for _, size in sizes)
    yield Finding(what=f"log: {total // 1000} kB in {count_of(len(sizes), 'file')}")
    path = f"{home.log.folder.path}/{LOG}"
    try:
        ahead = home.log.system.stat(path).st_mtime - time.time()
    except OSError:
        return
    if ahead > _AHEAD_S:
        yield Finding(
            what=f"the clock is {int(ahead)} s behind the last record",
            state=WARNING,
            hint="set the clock: tokens count as expired until then",
        )
