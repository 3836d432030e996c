"""A profile as it is in force, each value with its origin: for `profile show` and `list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config import fields, google
from brokerctl.config.duration import render_duration
from brokerctl.config.edit import render_value
from brokerctl.config.positions import locate
from brokerctl.errors import UsageError, shell_word
from brokerctl.model import Profile, Reference, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.compile import Compiled
    from brokerctl.config.source import Setting

_DURATIONS = frozenset({"min_ttl", "max_ttl", "timeout", "login_wait", "lifetime"})
_IMPLIED = frozenset({"client_auth"})


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
    if key == "exchange":
        return {"subject": {value.kind: value.target[0]}}
    if isinstance(value, Reference):
        is_command = value.kind == "command"
        return {value.kind: list(value.target) if is_command else value.target[0]}
    if key in _DURATIONS:
        return render_duration(value)
    if key == "google":
        return google.shown(value)
    if key in {"aws", "extra"}:
        return jsonlite.loads(value.encode()) if value else {}
    return list(value) if isinstance(value, tuple) else value
