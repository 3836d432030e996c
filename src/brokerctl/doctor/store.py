"""Checks the store: damaged entries, leftovers of killed writers, and entries set aside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from brokerctl.doctor import OK, PROBLEM, WARNING, Finding
from brokerctl.freshness import timestamp
from brokerctl.store.check import ASIDE_S
from brokerctl.store.check import check as check_entries
from brokerctl.store.entry import INTENT, KIND_NAMES
from brokerctl.store.file.earlier_copy import find_copy_time
from brokerctl.text import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.home import Home


def check(home: Home) -> Iterator[Finding]:
    """Open every entry."""
    report = check_entries(home.store)
    sealed = count_of(sum(report.counts.values()), "sealed entry", "sealed entries")
    for damage in report.damaged:
        yield Finding(
            what=f"store: a {KIND_NAMES[damage.kind]} entry is damaged: {damage.why}",
            state=PROBLEM,
            hint="run 'brokerctl store check --mend'",
        )
    if not report.damaged:
        yield Finding(what=f"store: {sealed}, and nothing damaged")
    if report.aside:
        yield Finding(
            what=f"store: {count_of(len(report.aside), 'entry', 'entries')} set aside, as damaged",
            state=WARNING,
            hint="run 'brokerctl store restore FILE' if a backup has them",
        )
    if report.unfinished:
        yield Finding(
            what=f"store: {count_of(report.unfinished, 'unfinished file')} of killed writers",
            state=WARNING,
            hint="run 'brokerctl store gc'",
        )
    copied_at = find_copy_time(home.folder)
    if copied_at is not None:
        is_old = copied_at < time.time() - ASIDE_S
        state, hint = (WARNING, "run 'brokerctl store gc'") if is_old else (OK, None)
        yield Finding(
            what=f"store: what was held on {timestamp(copied_at).partition('T')[0]} lies in a copy"
            " too, in the earlier format",
            state=state,
            hint=hint,
        )
    for entry in home.store.entries(INTENT):
        if entry.value is not None:
            yield Finding(
                what=f"store: a {entry.value.kind} was cut off; the next one finds out how far",
                state=WARNING,
                hint="run 'brokerctl status'",
            )
