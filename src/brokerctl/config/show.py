"""A profile as it is in force, each value with its origin: for `profile show` and `list`.

It also explains why a URL belongs to a profile: which host covers it, and which others nearly do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config import fields
from brokerctl.config.duration import render_duration
from brokerctl.config.edit import render_value
from brokerctl.config.hosts import covering, parse_url, split_pattern
from brokerctl.config.positions import locate
from brokerctl.config.words import exchange, tables
from brokerctl.errors import UsageError, shell_word
from brokerctl.model import Profile, Reference, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerctl.config.compile import Compiled
    from brokerctl.config.hosts import Url
    from brokerctl.config.source import Setting

_DURATIONS = frozenset({"min_ttl", "max_ttl", "timeout", "login_wait", "lifetime"})
_IMPLIED = frozenset({"client_auth"})


def _object(text: str) -> Any:  # noqa: ANN401 - what TOML holds
    return jsonlite.loads(text.encode()) if text else {}


_TABLES: dict[str, Callable[[Any], Any]] = {
    "exchange": exchange.shown_exchange,
    "identity": exchange.shown_identity,
    **tables.SHOWN,
    "extra": _object,
    "present": lambda value: dict([value]),
}
COVERS = "covers it"


class Shown(Value):
    """One line: a key, its value as TOML and as JSON, and its origin."""

    key: str
    toml: str
    plain: Any
    origin: str  # user, system, project, preset NAME or default
    place: str | None  # PATH:LINE


def show_profile(compiled: Compiled, name: str) -> list[Shown]:
    """Return every value in force of a profile, those of a file first."""
    settings = compiled.settings.get(name)
    if settings is None:
        known = ", ".join(sorted(compiled.settings)) or "there are none yet"
        raise UsageError(
            f"no profile '{name[:80]}' ({known})",
            hint=f"run 'brokerctl profile add {shell_word(name[:80])}'",
        )
    profile = compiled.plan.profiles[name]
    found = [_shown(key, setting.value, setting) for key, setting in settings.items()]
    for key in fields.PROFILE:
        value = getattr(profile, fields.FIELD_NAMES.get(key, key), None)
        if key in settings or value is None or value == ():
            continue
        found.append(_shown(key, value, None))
    return found


def where_from(settings: Mapping[str, Setting]) -> str:
    """Return the labels of the files that a profile is made of: system, user."""
    return "+".join(dict.fromkeys(s.origin for s in settings.values() if s.source is not None))


def summary(profile: Profile) -> dict[str, Any]:
    """Return what a list shows of a profile."""
    return {
        "name": profile.name,
        "flow": profile.flow,
        "issuer": profile.issuer,
        "client_id": profile.client_id,
        "scopes": list(profile.scopes),
    }


def _shown(key: str, value: Any, setting: Setting | None) -> Shown:  # noqa: ANN401 - any field's
    plain = _plain(key, value)
    place = None
    if setting is not None and setting.source is not None:
        line, _ = locate(setting.source.text, setting.where)
        place = f"{setting.source.path}:{line}"
    default = "implied" if key in _IMPLIED else "default"
    return Shown(
        key=key,
        toml=render_value(plain),
        plain=plain,
        origin=setting.origin if setting is not None else default,
        place=place,
    )


def _plain(key: str, value: Any) -> Any:  # noqa: ANN401 - what TOML holds
    if key in _TABLES:
        return _TABLES[key](value)
    if isinstance(value, Reference):
        is_command = value.kind in {"command", fields.SIGN}
        return {value.kind: list(value.target) if is_command else value.target[0]}
    if key in _DURATIONS:
        return render_duration(value)
    return list(value) if isinstance(value, tuple) else value


class Near(Value):
    """One of a profile's hosts beside a URL: `rank` is None where it does not cover it."""

    profile: str
    host: str
    why: str
    rank: tuple[bool, int] | None = None


def explain(text: str, profiles: Iterable[Profile]) -> list[Near]:
    """Return the hosts that cover a URL or nearly do, the closest first; UsageError for no URL."""
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
    """Add to a host that covers the URL less closely why another one wins."""
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
