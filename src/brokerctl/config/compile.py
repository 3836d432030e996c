"""Turns the layer files into a plan, or says what is wrong: file, line, column, nearest key.

Cold: it runs when a layer has changed. It raises UsageError and nothing else, whatever the bytes
are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config import fields, paths
from brokerctl.config.layers import digest, read_layers
from brokerctl.config.plan import Plan
from brokerctl.config.presets import get_preset
from brokerctl.config.source import Setting, Source, check_keys, checked, get_table, parse_layer
from brokerctl.config.words import exchange, policy, tables
from brokerctl.errors import UsageError
from brokerctl.model import FLOWS, Profile, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerctl.config.layers import Layers
    from brokerctl.config.rules import RuleLayer

DEFAULT = "default_profile"
POLICY = "policy"
_TOP = (DEFAULT, "profile", POLICY)
_DIGEST_CHARS = 32
_COMMAND = "approve_command"
# Security: what other programs read as a secret. In EMAIL a token would be the author of a commit.
_OF_SECRETS = ("TOKEN", "KEY", "SECRET", "PASSWORD")


class Compiled(Value):
    """The plan, and for `profile show` each profile's values with their origins."""

    plan: Plan
    settings: dict[str, dict[str, Setting]]


def compile_layers(layers: Layers, environ: Mapping[str, str]) -> Plan:
    """Return the plan of these layers; UsageError if one of them is wrong."""
    return compile_settings(layers, environ).plan


def read_plan(environ: Mapping[str, str]) -> Plan:
    """Return the configuration alone, if keys or store can't be opened; UsageError if it is wrong.

    Project files are left out: they can't decide to which profile a host belongs.
    """
    return compile_layers(read_layers(environ, None), environ)


def compile_settings(layers: Layers, environ: Mapping[str, str]) -> Compiled:
    """Return the plan and the origins of its values."""
    parsed = map(parse_layer, layers.files)
    return compile_sources((one for one in parsed if one is not None), environ)


def compile_sources(files: Iterable[Source], environ: Mapping[str, str]) -> Compiled:
    """Return what `compile_settings` does, of parsed files."""
    found: dict[str, dict[str, Setting]] = {}
    general: dict[str, Any] = {}
    places: dict[str, Source] = {}
    sources: list[Source] = []
    project: Source | None = None
    for source in files:
        sources.append(source)
        if source.label == "project":
            project = source
            continue
        check_keys(source, (), fields.SETTINGS | {"profile": {}, POLICY: {}}, fields.LATER_TOP)
        for name, settings in _read_profiles(source).items():
            found.setdefault(name, {}).update(settings)
            places[name] = source
        settings = _read_settings(source)
        _refuse_other_command(source, general, settings)
        general.update(settings)
    for name, settings in found.items():
        if not settings:  # an empty table has no key whose place could be named
            raise places[name].error(("profile", name), f"profile '{name}': issuer is missing")
        _apply_preset(name, settings)
    profiles = {name: _build(name, settings, environ) for name, settings in found.items()}
    _check_sources(profiles, found)
    plan = Plan(profiles=_with_jobs(profiles), **general)
    if project is not None:
        plan = narrow(plan, project, found)
    return Compiled(plan=_with_policy(plan, sources), settings=found)


def _with_policy(plan: Plan, sources: list[Source]) -> Plan:
    found = read_policy(sources)
    if not found:
        return plan
    return plan.replace(policy=found, policy_digest=_digest_of(sources))


def read_policy(sources: list[Source]) -> tuple[RuleLayer, ...]:
    """Return the policy of each file that has a rule, in their order; raises UsageError."""
    read = (read_layer(source) for source in sources)
    return tuple(layer for layer in read if layer is not None)


def read_layer(source: Source) -> RuleLayer | None:
    """Return the policy of one file; None where it has no rule. Raises UsageError."""
    return policy.read_layer(source, fields.PROFILE["scopes"])


def _digest_of(sources: list[Source]) -> str:
    """Return what names the layers in force, in the record of each decision that they made."""
    texts = (f"{source.label} {digest(source.text.encode())}" for source in sources)
    return digest(" ".join(texts).encode())[:_DIGEST_CHARS]


def _check_sources(
    profiles: Mapping[str, Profile], found: Mapping[str, dict[str, Setting]]
) -> None:
    for name, profile in profiles.items():
        wrong = exchange.find_wrong_source(profiles, profile)
        if wrong:
            raise _error(name, found[name], "exchange", wrong)


def _with_jobs(profiles: dict[str, Profile]) -> dict[str, Profile]:
    """Note in each profile the identity that its tokens come from."""
    found = {name: exchange.find_job_source(profiles, one) for name, one in profiles.items()}
    return {
        name: one if found[name] is None else one.replace(job_source=found[name])
        for name, one in profiles.items()
    }


def _read_profiles(source: Source) -> dict[str, dict[str, Setting]]:
    found: dict[str, dict[str, Setting]] = {}
    for name in get_table(source, "profile"):
        where = ("profile", name)
        checked(source, where, lambda _, name=name: fields.profile_name(name), None)  # type: ignore[misc]  # mypy can't type a default
        table = get_table(source, *where)
        check_keys(source, where, fields.PROFILE, fields.LATER_PROFILE)
        found[name] = {
            key: Setting(
                value=checked(source, (*where, key), fields.PROFILE[key], value),
                origin=source.label,
                source=source,
                where=(*where, key),
            )
            for key, value in table.items()
        }
    return found


def _read_settings(source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group, checks in fields.SETTINGS.items():
        table = get_table(source, group)
        if table:
            check_keys(source, (group,), checks, fields.LATER_SETTINGS.get(group, frozenset()))
        for key, value in table.items():
            field = fields.SETTING_NAMES[group, key]
            found[field] = checked(source, (group, key), checks[key], value)
    return found


def _refuse_other_command(source: Source, before: dict[str, Any], settings: dict[str, Any]) -> None:
    """Security: where the system's file says which command answers, no other one does.

    Nor does one that the PATH of the requester would find under the same name.
    """
    where = ("approve", "command")
    if source.label == "system" and "/" not in settings.get(_COMMAND, ("/",))[0]:
        text = "the system's command must be an absolute path: a PATH would find another one"
        raise source.error(where, text)
    if _COMMAND in before and settings.get(_COMMAND, before[_COMMAND]) != before[_COMMAND]:
        text = "the system's file says which command answers"
        raise source.error(where, text, "leave it out")


def _apply_preset(name: str, settings: dict[str, Setting]) -> None:
    chosen = settings.get(fields.PRESET)
    if chosen is None:
        return
    try:
        preset = get_preset(chosen.value)
        issuer = settings["issuer"].value if "issuer" in settings else preset.issuer
        values = preset.values(issuer) if issuer else {}
        values = {key: fields.PROFILE[key](value) for key, value in values.items()}
    except UsageError as error:
        raise _error(name, settings, fields.PRESET, error.message, error.hint) from None
    for key, value in values.items():
        if key not in settings:
            settings[key] = Setting(value=value, origin=f"preset {preset.name}")


def _error(
    name: str, settings: dict[str, Setting], key: str, message: str, hint: str | None = None
) -> UsageError:
    """Make an error about a whole profile: at the key if a file has it, else at the profile."""
    at = settings.get(key)
    if at is not None and at.source is not None:
        return at.source.error(at.where, message, hint)
    for setting in reversed(settings.values()):
        if setting.source is not None:
            return setting.source.error(("profile", name), f"profile '{name}': {message}", hint)
    return UsageError(f"profile '{name}': {message}", hint=hint)


def _build(name: str, settings: dict[str, Setting], environ: Mapping[str, str]) -> Profile:
    values = {key: setting.value for key, setting in settings.items()}
    problem = tables.find_problem(values) or exchange.find_problem(values)
    if problem:
        raise _error(name, settings, *problem)
    values = tables.expand(values)
    exchange.fill(values)
    for key in ("issuer", "flow", "client_id"):
        if key not in values:
            raise _error(name, settings, key, f"{key} is missing")
    wrong_audience = _audience_problem(values)
    if wrong_audience:
        raise _error(name, settings, "audience", wrong_audience)
    values.setdefault("client_auth", _implied_auth(values))
    wrong_auth = _auth_problem(values)
    if wrong_auth:
        raise _error(name, settings, "client_auth", wrong_auth)
    if "ca_file" in values:
        values["ca_file"] = paths.expand_home(values["ca_file"], environ)
    endpoints = tuple(sorted((key, values.pop(key)) for key in fields.ENDPOINTS if key in values))
    renamed = {fields.FIELD_NAMES.get(key, key): value for key, value in values.items()}
    return Profile(name=name, endpoints=endpoints, **renamed)


def _audience_problem(values: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the audience: a flow that sends none, or one that is sent twice."""
    if "audience" not in values:
        return None
    if not FLOWS[values["flow"]].takes_audience:
        return f"audience does not go with the flow {values['flow']}"
    is_extra = "audience" in jsonlite.loads((values.get("extra") or "{}").encode())
    return "extra has an audience too" if is_extra else None


def _implied_auth(values: dict[str, Any]) -> str:
    if "client_key" in values:
        return "private_key_jwt"
    return "client_secret_basic" if "client_secret" in values else "none"


def _auth_problem(values: dict[str, Any]) -> str | None:
    auth = values["client_auth"]
    needed = {"private_key_jwt": "client_key", "none": None}.get(auth, "client_secret")
    if needed is None and FLOWS[values["flow"]].needs_secret:
        return f"flow {values['flow']} needs client_secret or client_key"
    if needed is not None and needed not in values:
        return f"client_auth {auth} needs {needed}"
    for other in {"client_secret", "client_key"} - {needed}:
        if other in values:
            return f"client_auth {auth} does not use {other}"
    return None


def narrow(plan: Plan, source: Source, found: dict[str, dict[str, Setting]]) -> Plan:
    """Return the plan with a project file applied; UsageError for anything that widens.

    Security: everybody who can commit to the project can change this file, and a reader of it may
    miss something before `trust`. So it can name no issuer, host, command, key or endpoint.
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
        return profile  # they stand in the plan: the profile's own scopes name the grant
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
