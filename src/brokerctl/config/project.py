"""What a trusted project file may do: choose among the user's profiles, and narrow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl.config import fields
from brokerctl.config.source import Setting, check_keys, checked, get_table

if TYPE_CHECKING:
    from brokerctl.config.plan import Plan
    from brokerctl.config.source import Source
    from brokerctl.model import Profile

DEFAULT = "default_profile"
_TOP = (DEFAULT, "profile")
# Security: what other programs read as a secret. In EMAIL a token would be the author of a commit.
_OF_SECRETS = ("TOKEN", "KEY", "SECRET", "PASSWORD")


def narrow(plan: Plan, source: Source, found: dict[str, dict[str, Setting]]) -> Plan:
    """Return the plan with a project file applied; UsageError for anything that widens.

    Security: whoever can commit to the project writes this file, and `trust` pins what its reader
    saw. So it never names an issuer, host, command, key or endpoint.
    """
    _refuse_widening(source, (), fields.SETTINGS | dict.fromkeys(fields.LATER_TOP))
    check_keys(source, (), _TOP)
    profiles = dict(plan.profiles)
    narrowed: dict[str, tuple[str, ...]] = {}
    for name in get_table(source, "profile"):
        where = ("profile", name)
        table = get_table(source, *where)
        if name not in profiles:
            raise source.error(where, f"no profile '{name[:80]}' of yours to narrow")
        _refuse_widening(source, where, fields.PROFILE)
        check_keys(source, where, fields.PROJECT, fields.LATER_PROFILE)
        for key, value in table.items():
            place = (*where, key)
            new = checked(source, place, fields.PROFILE[key], value)
            profiles[name] = _apply(profiles[name], source, key, new)
            found[name][key] = Setting(value=new, origin="project", source=source, where=place)
            if key == "scopes":
                narrowed[name] = new
    return plan.replace(
        profiles=profiles, narrowed_scopes=narrowed, default_profile=_choice(plan, source)
    )


def _refuse_widening(source: Source, where: tuple[str, ...], known: dict[str, Any]) -> None:
    for key in get_table(source, *where):
        if key in known and key not in {*fields.PROJECT, *_TOP}:
            hint = "put it into your own configuration"
            raise source.error((*where, key), f"a project file can't set {key}", hint)


def _apply(profile: Profile, source: Source, key: str, value: Any) -> Profile:  # noqa: ANN401 - any field's
    where = ("profile", profile.name, key)
    if key == "scopes":
        outside = [scope for scope in value if scope not in profile.scopes]
        if outside or not value:
            what = (
                f"scope {outside[0]} is not among the profile's" if outside else "no scope is left"
            )
            raise source.error(where, f"a project file can only narrow: {what}")
        return profile  # the plan's narrowed_scopes: the profile's own name the grant
    if key == "max_ttl":
        if profile.max_ttl_s is not None and value > profile.max_ttl_s:
            raise source.error(where, "a project file can only shorten max_ttl")
        return profile.replace(max_ttl_s=value)
    if key == "env" and value != profile.env and not value.upper().endswith(_OF_SECRETS):
        raise source.error(
            where,
            f"a project file can't put a token into {value}",
            f"name a variable that ends in {', '.join(_OF_SECRETS[:-1])} or {_OF_SECRETS[-1]}, or"
            " set env in your own configuration",
        )
    return profile.replace(**{key: value})


def _choice(plan: Plan, source: Source) -> str | None:
    if DEFAULT not in source.table:
        return None
    name: str = checked(source, (DEFAULT,), fields.text_field, source.table[DEFAULT])
    if name not in plan.profiles:
        raise source.error((DEFAULT,), f"no profile '{name}' of yours to choose")
    return name
