"""The keys `exchange` and `identity`: whose token a flow exchanges, and who says who this job is.

`exchange` has the words of RFC 8693, section 2.1. What it names is looked at over all profiles:
a token that comes from a job's identity, over any number of exchanges, is the job's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerctl.config.platforms import AUTO, PLATFORMS
from brokerctl.errors import UsageError
from brokerctl.model import FLOWS, NOT_BEARER, Exchange, Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.model import Profile

IDENTITY, ID_TOKEN = "identity", "id_token"
SOURCES = '"identity", { profile = "p" }, { file = "p" } or { command = ["x"] }'
_TYPE = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN, JWT, REFRESH_TOKEN = f"{_TYPE}access_token", f"{_TYPE}jwt", f"{_TYPE}refresh_token"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x23-\x5b\x5d-\x7e]{1,200}", re.ASCII)
_AUDIENCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
SOCKET = "unix://"
# Without what means something else in a URI; `unix:` has no host (SPIFFE Workload Endpoint, 4).
_SOCKET = re.compile(r"unix:///[^/\x00-\x20%?#\x7f][^\x00-\x20%?#\x7f]*")
_KEYS = ("subject", "subject_type", "actor", "actor_type", "requested_type")


def exchange(value: object) -> Exchange:
    """Return what is exchanged, each type filled in; UsageError says what is wrong."""
    if not isinstance(value, dict) or not value:
        raise UsageError("must say whose token is exchanged", hint=f"use subject = {SOURCES}")
    unknown = next((key for key in value if key not in _KEYS), None)
    if unknown is not None:
        raise UsageError(f"has no key '{unknown[:80]}'", hint=f"known: {', '.join(_KEYS)}")
    subject = _source(value.get("subject"), "subject")
    actor = _source(value["actor"], "actor") if "actor" in value else None
    if actor is None and "actor_type" in value:
        raise UsageError("actor_type needs an actor (RFC 8693, section 2.1)")
    return Exchange(
        subject=subject,
        subject_type=_type_of(value, "subject_type") or usual_type(subject),
        actor=actor,
        actor_type=_type_of(value, "actor_type") or (usual_type(actor) if actor else None),
        requested_type=_type_of(value, "requested_type"),
    )


def usual_type(source: Reference) -> str:
    """Return the type of token that a source has, where the profile does not say it."""
    if source.kind != "profile":
        return JWT
    return f"{_TYPE}id_token" if source.target[1:] else ACCESS_TOKEN


def _source(value: object, what: str) -> Reference:
    if value == IDENTITY:
        return Reference(kind=IDENTITY, target=())
    if not isinstance(value, dict):
        raise UsageError(f"the {what} is not a source of tokens", hint=f"use {SOURCES}")
    words = dict(value)
    token = words.pop("token", None)
    if len(words) != 1 or not words.keys() <= {"profile", "file", "command"}:
        raise UsageError(f"the {what} is not a source of tokens", hint=f"use {SOURCES}")
    kind, target = next(iter(words.items()))
    if token is not None and (kind != "profile" or token not in {ID_TOKEN, "access_token"}):
        raise UsageError(f'the {what}\'s token can be "id_token", of a profile')
    if kind == "command":
        return Reference(kind=kind, target=command(target, what))
    if not isinstance(target, str) or not target:
        raise UsageError(f"the {what}'s {kind} must be a string")
    if kind == "file":
        return Reference(kind=kind, target=(_path(target, what),))
    return Reference(kind=kind, target=(target, ID_TOKEN) if token == ID_TOKEN else (target,))


def command(value: object, what: str) -> tuple[str, ...]:
    """Return a command's words; UsageError where they are none."""
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise UsageError(f'the {what}\'s command must be a list of strings, as in ["x", "token"]')
    if not value[0] or any("\0" in word for word in value):
        raise UsageError(f"the {what}'s command is no command")
    if "/" in value[0]:
        _path(value[0], what)
    return tuple(value)


def _path(text: str, what: str) -> str:
    if not text.startswith(("/", "~/")) or not text.isprintable():
        raise UsageError(f"the {what}'s file must be an absolute path or start with ~/")
    return text


def _type_of(value: Mapping[str, Any], key: str) -> str | None:
    """Return a token's type, which is a URI; the last word alone means RFC 8693's of that name."""
    found = value.get(key)
    if found is None:
        return None
    if isinstance(found, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", found):
        found = f"{_TYPE}{found}"
    if not isinstance(found, str) or not _URI.fullmatch(found):
        raise UsageError(f"{key} is not a token type (RFC 8693, section 3)")
    return found


def identity(value: object) -> Reference:
    """Return where this job's identity comes from; UsageError says what is wrong."""
    if value == AUTO:
        return Reference(kind=AUTO, target=())
    known = ", ".join(PLATFORMS)
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in PLATFORMS:
        hint = f'use "auto" or {{ PLATFORM = … }}, where PLATFORM is one of {known}'
        raise UsageError("is not a source of identities", hint=hint)
    name, target = next(iter(value.items()))
    return Reference(kind=name, target=_TARGETS[PLATFORMS[name].needs](target, name))


def _no_more(value: object, name: str) -> tuple[str, ...]:
    if value is not True:
        raise UsageError(f"{name} can only be true")
    return ()


def _variable(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise UsageError(f"{name} must name the variable that holds the token")
    return (value,)


def _file(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise UsageError(f"{name} must be the path of the token's file")
    return (_path(value, name),)


def _file_or_socket(value: object, name: str) -> tuple[str, ...]:
    """Return the path of a token's file or of a socket, or a socket's URI (`unix:///path`)."""
    if not isinstance(value, str) or not value.startswith(SOCKET):
        return _file(value, name)
    if not _SOCKET.fullmatch(value):
        raise UsageError(f"the {name}'s socket must be as in {SOCKET}/run/agent.sock")
    return (value,)


_TARGETS = {
    "": _no_more,
    "variable": _variable,
    "file": _file,
    "file or socket": _file_or_socket,
    "command": command,
}


def identity_audience(value: object) -> str:
    """Return who an identity is made out to."""
    if not isinstance(value, str) or not _AUDIENCE.fullmatch(value):
        raise UsageError("must be one printable word without quotation marks")
    return value


def shown_exchange(value: Exchange) -> dict[str, Any]:
    """Return the table as it could be written."""
    found: dict[str, Any] = {"subject": _shown_source(value.subject)}
    if value.subject_type != usual_type(value.subject):
        found["subject_type"] = value.subject_type
    if value.actor is not None:
        found["actor"] = _shown_source(value.actor)
        if value.actor_type != usual_type(value.actor):
            found["actor_type"] = value.actor_type
    if value.requested_type is not None:
        found["requested_type"] = value.requested_type
    return found


def _shown_source(source: Reference) -> Any:  # noqa: ANN401 - a string or a table
    if source.kind == IDENTITY:
        return IDENTITY
    if source.kind == "command":
        return {"command": list(source.target)}
    more = {"token": source.target[1]} if source.target[1:] else {}
    return {source.kind: source.target[0]} | more


def shown_identity(value: Reference) -> Any:  # noqa: ANN401 - a string or a table
    """Return the word or table as it was written."""
    if value.kind == AUTO:
        return AUTO
    if value.kind == "command":
        return {"command": list(value.target)}
    return {value.kind: value.target[0] if value.target else True}


def find_problem(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key that is wrong in a profile and why, if one is."""
    traits = FLOWS.get(values.get("flow", ""))
    if traits is None or not traits.exchanges:
        flow = values.get("flow", "this")
        for key in ("exchange", "identity", "identity_audience"):
            if key in values:
                return key, f"{key} does not go with the flow {flow}, which exchanges nothing"
        return None
    if not traits.is_of_job and "exchange" not in values and "identity" not in values:
        return "exchange", "exchange is missing"
    found = values.get("exchange")
    if found is None or traits.takes_actor:
        return None
    if found.actor is not None or found.requested_type is not None:
        return "exchange", f"actor and requested_type do not go with the flow {values['flow']}"
    return None


def fill(values: dict[str, Any]) -> None:
    """Fill in what follows: an identity alone is the subject, and one that is named is looked for.

    Both are changed in place.
    """
    traits = FLOWS.get(values.get("flow", ""))
    if traits is None or not traits.exchanges:
        return
    if "exchange" not in values:
        values["exchange"] = exchange({"subject": IDENTITY})
    if _uses_identity(values["exchange"]):
        values.setdefault("identity", Reference(kind=AUTO, target=()))


def _uses_identity(found: Exchange) -> bool:
    return any(one is not None and one.kind == IDENTITY for one in (found.subject, found.actor))


def find_wrong_source(profiles: Mapping[str, Profile], profile: Profile) -> str | None:
    """Return why a profile can't get the tokens that it exchanges; None if it can."""
    return _look(profiles, profile, (profile.name,))


def _look(profiles: Mapping[str, Profile], profile: Profile, names: tuple[str, ...]) -> str | None:
    for source in _sources(profile):
        if source.kind != "profile":
            continue
        name = source.target[0]
        if name in names:
            return f"the exchange goes in a circle: {' from '.join([*names, name])}"
        if name not in profiles:
            return f"there is no profile '{name[:80]}' to have a token from"
        found = _look(profiles, profiles[name], (*names, name))
        if found:
            return found
        if profiles[name].traits.token_type == NOT_BEARER:
            return f"'{name}' has a cloud's own credentials, which are no token to exchange"
    return None


def _sources(profile: Profile) -> tuple[Reference, ...]:
    found = profile.exchange
    return () if found is None else tuple(one for one in (found.subject, found.actor) if one)


def find_job_source(profiles: Mapping[str, Profile], profile: Profile) -> Reference | None:
    """Return the identity that a profile's tokens come from, over any exchange; None if none.

    To be asked where `find_wrong_source` has found nothing.
    """
    for source in _sources(profile):
        if source.kind == IDENTITY:
            return profile.identity
        if source.kind == "profile":
            found = find_job_source(profiles, profiles[source.target[0]])
            if found is not None:
                return found
    return None
