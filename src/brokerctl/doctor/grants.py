"""Checks grants: those that are missing, dead, end within the hour, or are to be revoked."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from brokerctl.broker.grant_status import NONE, of_profiles, of_subjects
from brokerctl.broker.held_grants import find_orphaned_grants
from brokerctl.doctor import OK, PROBLEM, WARNING, Finding
from brokerctl.errors import shell_word
from brokerctl.freshness import WEEK_S, timestamp
from brokerctl.policy import find_broader
from brokerctl.store.entry import QUEUE
from brokerctl.text import count_of, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.broker.grant_status import GrantStatus
    from brokerctl.home import Home
    from brokerctl.store.values import Failure, Slot

_SOON_S = 3600.0
_SCOPES_CHARS = 120


def check(home: Home) -> Iterator[Finding]:
    """Look at each profile as a request would, at its subjects, and at the queue of revocations."""
    now = time.time()
    subjects = _count_subjects(home, now)
    for one in of_profiles(home.store, home.plan.profiles, home.key_of, now):
        if one.state != NONE or one.profile.name not in subjects:
            yield from _grant(home, one, now)
    yield from _subjects(subjects)
    for stray in find_orphaned_grants(home.store, home.plan.profiles):
        yield Finding(
            what=f"'{stray.profile}': an older grant, of other settings, lives on unused",
            state=WARNING,
            hint=f"run 'brokerctl revoke {shell_word(stray.profile)}', then log in again",
        )
    waiting = sum(
        sum(bool(item.value) for item in entry.value.items)
        for entry in home.store.stream(QUEUE)
        if entry.value is not None
    )
    if waiting:
        yield Finding(
            what=f"revocations: {count_of(waiting, 'token')} queued, maybe still alive",
            state=WARNING,
            hint="run 'brokerctl status', which tries again",
        )


def _grant(home: Home, one: GrantStatus, now: float) -> Iterator[Finding]:
    failure = _find_failure(home, one, now)
    if failure is not None:
        yield Finding(
            what=f"'{one.profile.name}': the last attempt failed: {failure.message}",
            state=WARNING,
            # No command: the `get` that failed has named `doctor` in its hint.
            hint=failure.hint or "the next request asks the issuer again; mend what it says first",
        )
    yield from _broader(one)
    if one.profile.traits.needs_person:
        yield from _persons(one, now)


def _find_failure(home: Home, one: GrantStatus, now: float) -> Failure | None:
    """Return the last attempt's failure, if the next request will probably fail as well.

    A success removes it, and where the grant has ended it does not matter any more.
    """
    failure = home.store.find_failure(one.key)
    if failure is None or now >= failure.at + _SOON_S:
        return None
    return None if one.grant is not None and one.grant.dead_why is not None else failure


def _count_subjects(home: Home, now: float) -> dict[str, Counter[str]]:
    """Count the other subjects of each profile, and those whose requests would fail."""
    counts: dict[str, Counter[str]] = {}
    for one in of_subjects(home.store, home.plan.profiles, home.key_of, now):
        if one is None or one.is_revoked:
            continue  # what does not open is told of by the store's check
        count = counts.setdefault(one.profile.name, Counter())
        count["subjects"] += 1
        if one.grant is not None and one.grant.dead_why is not None:
            count["ended"] += 1
        elif one.needs_care(now):
            count["to end within a week"] += 1
        elif _find_failure(home, one, now) is not None:
            count["failing"] += 1
    return counts


def _subjects(counts: dict[str, Counter[str]]) -> Iterator[Finding]:
    for name, count in sorted(counts.items()):
        total = count.pop("subjects")
        bad = ", ".join(f"{number} {word}" for word, number in sorted(count.items()))
        yield Finding(
            what=f"'{name}': {count_of(total, 'subject')}" + (f", of them {bad}" if bad else ""),
            state=WARNING if bad else OK,
            hint="run 'brokerctl status'" if bad else None,
        )


def _broader(one: GrantStatus) -> Iterator[Finding]:
    """Report tokens with scopes beyond those asked for, unless the profile allows that."""
    profile = one.profile
    tokens = [(slot.key.scopes, slot.current) for slot in one.slots if slot.current is not None]
    has_levels = profile.traits.has_levels
    found = {
        scope
        for asked, token in tokens
        for scope in find_broader(asked, token.scopes, has_levels=has_levels)
    }
    if found and not profile.allow_broader:
        kept = " and is kept from tools" if profile.allow_broader is False else ""
        scopes = safe(" ".join(sorted(found)), _SCOPES_CHARS)
        yield Finding(
            what=f"'{profile.name}': its issuer gives more than is asked for{kept}: {scopes}",
            state=WARNING,
            hint=f"set allow_broader: 'brokerctl profile show {shell_word(profile.name)}'",
        )


def _persons(one: GrantStatus, now: float) -> Iterator[Finding]:
    name, grant = one.profile.name, one.grant
    hint = f"run 'brokerctl login {shell_word(name)}'"
    if one.is_damaged:
        return  # the store's check says it
    if grant is None:
        yield Finding(what=f"'{name}': nobody is logged in", state=WARNING, hint=hint)
    elif grant.dead_why is not None:
        yield Finding(what=f"'{name}': ended: {grant.dead_why}", state=PROBLEM, hint=hint)
    elif grant.refresh_token is None:
        what = _without_refresh(one.slots, now)
        if what is not None:
            yield Finding(what=f"'{name}': {what}", state=PROBLEM, hint=hint)
    elif grant.ends_at is not None and grant.ends_at - now < WEEK_S:
        what = f"'{name}': its login ends at {timestamp(grant.ends_at)}, by its issuer's word"
        yield Finding(what=what, state=WARNING, hint=hint)
    else:
        until = "" if grant.ends_at is None else f", until {_day(grant.ends_at)}"
        yield Finding(what=f"'{name}': a grant since {_day(grant.obtained_at)}{until}")


def _without_refresh(slots: tuple[Slot, ...], now: float) -> str | None:
    current = [slot.current for slot in slots]
    ends = [token.expires_at for token in current if token is not None and token.value]
    if not ends:
        return "no token is left, and none can be had without a login"
    if all(end is not None and end < now + _SOON_S for end in ends):
        return "its token ends within the hour and can't be refreshed"
    return None


def _day(at: float) -> str:
    return timestamp(at).partition("T")[0]
