"""What is kept of other tools' own, for the person: what there is, why a tool does not get it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.errors import UsageError
from brokerctl.helpers import GET, Wanted
from brokerctl.helpers.door import find_owners, load
from brokerctl.helpers.keeping import find_place, url_of
from brokerctl.helpers.setups import ALIASES
from brokerctl.store.envelope import KEPT
from brokerctl.store.kept import all_kept

if TYPE_CHECKING:
    from brokerctl.store.values import Kept
    from brokerctl.wire import House

# Whose credentials can be kept, by the tools that ask for them.
KEEPING = {"cargo": "cargo", "docker": "docker", "git": "git", "podman": "docker"}


class Held(NamedTuple):
    """One credential that is kept: its entry's name, and why its tool is not answered with it."""

    name: str
    one: Kept
    unanswered: str | None

    @property
    def shown(self) -> str:
        """Say whose it is and where it belongs; no password is in it."""
        who = f"{self.one.username} at " if self.one.username else ""
        return f"{self.one.tool}: {who}{url_of(self.one)}"


def find_keeping(tool: str) -> str:
    """Return for which helper the credentials of a tool are kept; UsageError if none are."""
    tool = ALIASES.get(tool, tool)
    if tool not in KEEPING:
        *names, last = KEEPING
        hint = f"say {', '.join(names)} or {last}"
        raise UsageError(f"helper '{tool}' keeps nothing", hint=hint)
    return KEEPING[tool]


def list_kept(house: House, tool: str | None = None, *, is_over_too: bool = False) -> list[Held]:
    """Return what is kept, of one helper or of all, the newest first."""
    now = time.time()
    return [
        Held(name, one, _why_not(house, one))
        for name, one in all_kept(house.store)
        if tool in {None, one.tool} and (is_over_too or not one.is_over(now))
    ]


def count_damaged(house: House) -> int:
    """Return how many entries do not open: nobody can tell what is in them."""
    return sum(entry.damage is not None for entry in house.store.entries(KEPT))


def find_one(house: House, tool: str, host: str, user: str | None) -> Held:
    """Return the one that a person means by a host or a URL; UsageError for none, or for two."""
    helper = find_keeping(tool)
    found = [
        held
        for held in list_kept(house, helper, is_over_too=True)
        if user in {None, held.one.username}
    ]
    exact = [held for held in found if _is_at(held.one, host, any_path=False)]
    found = exact or [held for held in found if _is_at(held.one, host, any_path=True)]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} are" if found else "nothing is"
    who = "" if user is None else f", of '{user}'"
    hint = f"'brokerctl helper kept {helper}' lists what there is"
    if found:
        hint = f"name the user too, and the whole URL: {hint}"
    raise UsageError(f"{what} kept for {helper} at {host}{who}", hint=hint)


def _is_at(one: Kept, text: str, *, any_path: bool) -> bool:
    """Say whether a credential belongs to a host, or to a URL, in any of its spellings."""
    text = text.removeprefix("sparse+")
    url = find_place(text if "://" in text else f"{one.protocol}://{text}")
    if url is None or (url.scheme, url.host, url.port) != (one.protocol, one.host, one.port):
        return False
    return one.path == url.path or (any_path and url.path in {"", "/"})


def _why_not(house: House, one: Kept) -> str | None:
    """Return why the door would not answer the tool's own request with a credential."""
    if one.tool not in house.plan.keep:
        return f"'[helpers] keep' in config.toml does not have {one.tool}"
    helper, url = load(one.tool), url_of(one)
    is_own = bool(helper.own_keys) and url.endswith(helper.own_keys)
    wanted = Wanted(action=GET, url=url, username=one.username, is_foreign=is_own)
    _, owners = find_owners(helper, wanted, house.plan.profiles)
    if not owners:
        return None
    names = " and ".join(sorted(f"'{profile.name}'" for profile in owners))
    return f"its host is that of the profile {names}"
