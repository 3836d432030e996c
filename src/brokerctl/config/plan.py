"""The compiled configuration: what the warm road reads instead of TOML."""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.model import Exchange, Profile, Reference, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_VERSION = 1
_REFERENCES = ("client_secret", "client_key", "identity", "job_source")

_SOURCES = ("subject", "actor")


class Plan(Value):
    """Every profile by name, fully resolved, and the settings."""

    profiles: dict[str, Profile]
    keeper: str | None = None  # keys.keeper: what is made at first use
    unlock_for_s: int | None = None  # keys.unlock_for
    rotate_bytes: int | None = None  # audit.rotate
    keep: tuple[str, ...] = ()  # helpers.keep: tools whose own credentials are kept
    default_profile: str | None = None  # a trusted project's choice
    # A trusted project's narrowing, by profile. It is no part of the profile's own scopes, because
    # those name the grant: a narrowed project uses the grant that its user already has.
    narrowed_scopes: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - a default of a Value, never written to


def default_profile(plan: Plan, environ: Mapping[str, str]) -> str | None:
    """Return the profile that is meant when none is named: environment, else project."""
    return environ.get("BROKERCTL_PROFILE") or plan.default_profile


def render_plan(plan: Plan) -> bytes:
    """Render a plan as JSON; what has its default is left out."""
    body = plan.as_dict()
    body["profiles"] = [_render_profile(profile) for profile in plan.profiles.values()]
    body["v"] = _VERSION
    return jsonlite.dumps(body).encode("ascii")


def parse_plan(data: bytes) -> Plan | None:
    """Return the plan, or None for one of another version (which is compiled anew).

    Members that this version does not know are passed over: what must be understood raises `v`.
    """
    try:
        body = jsonlite.loads(data)
        if not isinstance(body, dict) or body.pop("v", None) != _VERSION:
            return None
        profiles = [_parse_profile(fields) for fields in body.pop("profiles")]
        body["keep"] = tuple(body.get("keep", ()))
        narrowed = {name: tuple(scopes) for name, scopes in body.pop("narrowed_scopes").items()}
        return Plan(
            profiles={profile.name: profile for profile in profiles},
            narrowed_scopes=narrowed,
            **_known(Plan, body),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _render_profile(profile: Profile) -> dict[str, Any]:
    defaults = Profile._defaults  # noqa: SLF001 - what a Value was declared with
    fields = {}
    for name, value in profile.as_dict().items():
        if name in defaults and defaults[name] == value:
            continue
        fields[name] = _render(value)
    return fields


def _render(value: object) -> object:
    if isinstance(value, Reference):
        return [value.kind, *value.target]
    if isinstance(value, Exchange):
        return {name: _render(one) for name, one in value.as_dict().items() if one is not None}
    return value


def _parse_profile(fields: dict[str, Any]) -> Profile:
    for name in _REFERENCES:
        if name in fields:
            fields[name] = _parse_reference(fields[name])
    if "exchange" in fields:
        words = _known(Exchange, fields["exchange"])
        found = {name: _parse_reference(words[name]) for name in _SOURCES if name in words}
        fields["exchange"] = Exchange(**words | found)
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = tuple(tuple(item) if isinstance(item, list) else item for item in value)
    return Profile(**_known(Profile, fields))


def _parse_reference(words: list[str]) -> Reference:
    kind, *target = words
    return Reference(kind=kind, target=tuple(target))


def _known(cls: type[Value], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a value has, which are all of them as a rule."""
    known = cls._fields
    if any(name not in known for name in fields):
        return {name: value for name, value in fields.items() if name in known}
    return fields
