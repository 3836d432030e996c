"""Why a URL belongs to a profile: which of its hosts covers it, and which others came near."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerctl.config.hosts import covering, parse_url, split_pattern
from brokerctl.model import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerctl.config.hosts import Url
    from brokerctl.model import Profile

COVERS = "covers it"


class Near(Value):
    """One of a profile's hosts beside a URL: `rank` is None where it does not cover it."""

    profile: str
    host: str
    why: str
    rank: tuple[bool, int] | None = None


def explain(text: str, profiles: Iterable[Profile]) -> list[Near]:
    """Return what covers a URL or nearly does, the closest first; UsageError for no URL of ours."""
    url = parse_url(text)
    found = []
    for profile in profiles:
        for host in profile.hosts:
            rank = covering(url, host)
            why = _why_not(url, split_pattern(host)) if rank is None else COVERS
            if why:
                found.append(Near(profile=profile.name, host=host, why=why, rank=rank))
    found.sort(key=lambda near: (near.rank is None, _closeness(near), near.profile, near.host))
    return [_compared(near, found[0]) for near in found]


def _closeness(near: Near) -> tuple[bool, int]:
    is_exact, path_chars = near.rank or (False, 0)
    return not is_exact, -path_chars


def _compared(near: Near, best: Near) -> Near:
    """Say of what covers a URL less closely what beats it."""
    if near.rank is None or near.rank == best.rank:
        return near
    word = "a longer path" if near.rank[0] == (best.rank or near.rank)[0] else "an exact host"
    return near.replace(why=f"covers it, and {word} wins")


def _why_not(url: Url, pattern: Url) -> str | None:
    """Return why a host that looks alike does not cover a URL; None for one that does not."""
    if pattern.host.startswith("*."):
        if not f".{url.host}".endswith(pattern.host[1:]):
            return None
        if url.host.partition(".")[2] != pattern.host[2:]:
            return "* is for exactly one label"
    elif url.host != pattern.host:
        return "another host" if _is_related(url.host, pattern.host) else None
    if url.scheme != pattern.scheme:
        return f"it is for {pattern.scheme}"
    return "another path" if url.port == pattern.port else f"it is for port {pattern.port}"


def _is_related(one: str, other: str) -> bool:
    """Return whether one host lies below the other, which is no bare word as `localhost` is."""
    short, long = sorted((one, other), key=len)
    return "." in short and long.endswith(f".{short}")
