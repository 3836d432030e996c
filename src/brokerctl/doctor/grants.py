"""Checks grants: those that are missing, dead, end within the hour, or are to be revoked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from brokerctl.broker.held_grants import find_orphaned_grants
from brokerctl.doctor import PROBLEM, WARNING, Finding
from brokerctl.errors import DamagedError, shell_word
from brokerctl.freshness import WEEK_S, timestamp
from brokerctl.policy import find_broader
from brokerctl.store.entry import QUEUE, TOKEN
from brokerctl.text import count_of, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.home import Home
    from brokerctl.model import GrantKey, Profile
    from brokerctl.store.values import Slot

_SOON_S = 3600.0
_SCOPES_CHARS = 120


def check(home: Home) -> Iterator[Finding]:
    """Look at each profile as a request would, and at the queue of revocations."""
    now = time.time()
    slots = [entry.value for entry in home.store.entries(TOKEN) if entry.value is not None]
    for _, profile in sorted(home.plan.profiles.items()):
        yield from _grant(home, profile, slots, now)
    for stray in find_orphaned_grants(home.store, home.plan.profiles):
        yield Finding(
            what=f"'{stray.profile}': an older grant, of other settings, lives on unused",
            state=WARNING,
            hint=f"run 'brokerctl revoke {shell_word(stray.profile)}', then log in again",
        )
    waiting = sum(
        sum(bool(item.value) for item in entry.value.items)
        for entry in home.store.entries(QUEUE)
        if entry.value is not None
    )
    if waiting:
        yield Finding(
            what=f"revocations: {count_of(waiting, 'token')} queued, maybe still alive",
            state=WARNING,
            hint="run 'brokerctl status', which tries again",
        )


def _grant(home: Home, profile: Profile, slots: list[Slot], now: float) -> Iterator[Finding]:
    name, key = profile.name, home.key_of(profile)
    failure = home.store.find_failure(key)
    # A success removes the failure; until then the next request will probably fail as well.
    if failure is not None and now < failure.at + _SOON_S and not _is_dead(home, key):
        yield Finding(
            what=f"'{name}': the last attempt failed: {failure.message}",
            state=WARNING,
            # No command: the `get` that failed has named `doctor` in its hint.
            hint=failure.hint or "the next request asks the issuer again; mend what it says first",
        )
    yield from _broader(profile, [slot for slot in slots if slot.key.grant == key])
    if profile.traits.needs_person:
        yield from _persons(home, profile, slots, now)


def _broader(profile: Profile, slots: list[Slot]) -> Iterator[Finding]:
    """Report tokens with scopes beyond those asked for, unless the profile allows that."""
    tokens = [(slot.key.scopes, slot.current) for slot in slots if slot.current is not None]
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


def _is_dead(home: Home, key: GrantKey) -> bool:
    """Return whether a grant has ended: then an earlier failure no longer matters."""
    try:
        grant = home.store.find_grant(key)
    except DamagedError:
        return False  # the store's check says it
    return grant is not None and grant.dead_why is not None


def _persons(home: Home, profile: Profile, slots: list[Slot], now: float) -> Iterator[Finding]:
    name, key = profile.name, home.key_of(profile)
    hint = f"run 'brokerctl login {shell_word(name)}'"
    try:
        grant = home.store.find_grant(key)
    except DamagedError:
        return  # the store's check says it
    if grant is None:
        yield Finding(what=f"'{name}': nobody is logged in", state=WARNING, hint=hint)
    elif grant.dead_why is not None:
        yield Finding(what=f"'{name}': ended: {grant.dead_why}", state=PROBLEM, hint=hint)
    elif grant.refresh_token is None:
        what = _without_refresh([slot for slot in slots if slot.key.grant == key], now)
        if what is not None:
            yield Finding(what=f"'{name}': {what}", state=PROBLEM, hint=hint)
    elif grant.ends_at is not None and grant.ends_at - now < WEEK_S:
        what = f"'{name}': its login ends at {timestamp(grant.ends_at)}, by its issuer's word"
        yield Finding(what=what, state=WARNING, hint=hint)
    else:
        until = "" if grant.ends_at is None else f", until {_day(grant.ends_at)}"
        yield Finding(what=f"'{name}': a grant since {_day(grant.obtained_at)}{until}")


def _without_refresh(slots: list[Slot], now: float) -> str | None:
    current = [slot.current for slot in slots]
    ends = [token.expires_at for token in current if token is not None and token.value]
    if not ends:
        return "no token is left, and none can be had without a login"
    if all(end is not None and end < now + _SOON_S for end in ends):
        return "its token ends within the hour and can't be refreshed"
    return None


def _day(at: float) -> str:
    return timestamp(at).partition("T")[0]
