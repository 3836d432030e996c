"""The keys of an AWS profile: the role, the session's name, and whose token is exchanged for it.

They are compiled into what every profile has: the STS endpoint is its issuer, the role its client,
and everything else that changes the credentials is part of their key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config.duration import parse_duration
from brokerctl.config.hosts import parse_endpoint
from brokerctl.errors import UsageError
from brokerctl.model import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.model import Profile

FLOW = "aws_web_identity"
SOURCES = '{ subject = { profile = "p" } } or { subject = { file = "p" } }'
_ENDPOINT = "https://sts.amazonaws.com"
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
_SESSION = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_SHORTEST_S, _LONGEST_S = 900, 43200  # of AssumeRoleWithWebIdentity's DurationSeconds
_POLICY_CHARS = 2048
_KEYS = ("role", "session", "duration", "endpoint", "policy")
_LATER_SOURCES = ("command", "identity")
_LATER_KEYS = ("subject_type", "actor", "actor_type", "requested_type")
# Keys that mean nothing to STS. Security: with `hosts` other tools could send the secrets away.
_FOREIGN = frozenset(
    (
        *("preset", "issuer", "client_id", "client_auth", "client_secret", "client_key"),
        *("scopes", "resource", "send_resource", "extra", "hosts", "username", "username_match"),
        *("lifetime", "grant_ended_errors", "allow_broader"),
        *("refresh_ends_previous", "pkce_support", "assertion_audience", "insecure_ok", "google"),
        *("authorization_endpoint", "device_authorization_endpoint", "token_endpoint"),
        *("revocation_endpoint", "introspection_endpoint", "jwks_uri"),
    )
)


def table(value: object) -> str:
    """Return the table `aws` as JSON, its defaults filled in; UsageError says what is wrong."""
    if not isinstance(value, dict):
        raise UsageError('must be a table, as in { role = "arn:aws:iam::123456789012:role/x" }')
    unknown = next((key for key in value if key not in _KEYS), None)
    if unknown is not None:
        raise UsageError(f"has no key '{unknown[:80]}'", hint=f"known: {', '.join(_KEYS)}")
    role = _match(_ROLE, value.get("role"), "role", "the ARN of a role")
    found: dict[str, Any] = {
        "endpoint": _endpoint(value.get("endpoint"), role),
        "role": role[0],
        "session": _match(_SESSION, value.get("session", "brokerctl"), "session", "a name")[0],
    }
    if "duration" in value:
        found["duration"] = _duration(value["duration"])
    if "policy" in value:
        found["policy"] = _policy(value["policy"])
    return jsonlite.dumps(found, sort=True)


def _match(pattern: re.Pattern[str], value: object, key: str, what: str) -> re.Match[str]:
    found = pattern.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UsageError(f"{key} is not {what}" if value is not None else f"{key} is missing")
    return found


def _endpoint(value: object, role: re.Match[str]) -> str:
    if value is None and role[1] == "aws":
        return _ENDPOINT
    if not isinstance(value, str):
        hint = 'as in endpoint = "https://sts.cn-north-1.amazonaws.com.cn"'
        raise UsageError(f"a role of {role[1]} needs an endpoint, which is a string", hint=hint)
    try:
        return parse_endpoint(value).removesuffix("/")
    except UsageError as error:
        raise UsageError(f"endpoint: {error.message}", hint=error.hint) from None


def _duration(value: object) -> int:
    seconds = parse_duration(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise UsageError("duration must be seconds, or a duration as in '1h'")
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise UsageError("duration must be 15 minutes to 12 hours, which is what STS takes")
    return seconds


def _policy(value: object) -> str:
    """Return a session policy as it was written; it is only checked that it is a JSON object."""
    try:
        is_policy = isinstance(value, str) and isinstance(jsonlite.loads(value.encode()), dict)
    except ValueError:
        is_policy = False
    if not is_policy or not isinstance(value, str) or len(value) > _POLICY_CHARS:
        raise UsageError(f"policy must be a JSON object in a string, at most {_POLICY_CHARS} long")
    return value


def exchange(value: object) -> Reference:
    """Return where the web identity is found: another profile, or a file."""
    if not isinstance(value, dict) or not value:
        raise UsageError("must say whose token is exchanged", hint=f"use {SOURCES}")
    for key in value:
        if key in _LATER_KEYS:
            raise UsageError(f"{key} is not in this version")
        if key != "subject":
            raise UsageError(f"has no key '{key[:80]}'", hint=f"use {SOURCES}")
    return _source(value["subject"])


def _source(value: object) -> Reference:
    if isinstance(value, dict) and len(value) == 1:
        kind, target = next(iter(value.items()))
    else:
        kind, target = value, None
    if isinstance(kind, str) and kind in _LATER_SOURCES:
        raise UsageError(f"the subject '{kind}' is not in this version", hint=f"use {SOURCES}")
    if kind not in ("profile", "file") or not isinstance(target, str):
        raise UsageError("the subject is not a source of tokens", hint=f"use {SOURCES}")
    if kind == "file" and (not target.startswith(("/", "~/")) or not target.isprintable()):
        raise UsageError("the subject's file must be an absolute path or start with ~/")
    return Reference(kind=kind, target=(target,))


WORDS = {"aws": table, "exchange": exchange}


def find_problem(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key that is wrong in a profile and why, if one is."""
    if values.get("flow") != FLOW:
        for key in ("aws", "exchange"):
            if key in values:
                return key, f"{key} goes with the flow {FLOW} alone"
        return None
    for key in ("aws", "exchange"):
        if key not in values:
            return key, f"{key} is missing"
    foreign = next((key for key in values if key in _FOREIGN), None)
    if foreign is not None:
        return foreign, f"{foreign} does not go with the flow {FLOW}"
    if "max_ttl" in values:
        return "max_ttl", f"max_ttl does not go with the flow {FLOW}: use 'duration' in aws"
    return None


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an AWS profile's values as those of any profile."""
    if values.get("flow") != FLOW:
        return dict(values)
    kept = {key: value for key, value in values.items() if key not in {"aws", "exchange"}}
    asked = jsonlite.loads(values["aws"].encode())
    sent = {"RoleSessionName": asked["session"]}
    if "duration" in asked:
        sent["DurationSeconds"] = str(asked["duration"])
    if "policy" in asked:
        sent["Policy"] = asked["policy"]
    return kept | {
        "issuer": asked["endpoint"],
        "client_id": asked["role"],
        "token_endpoint": asked["endpoint"] + "/",
        "extra": jsonlite.dumps(sent, sort=True),
        "exchange": values["exchange"],
    }


def find_wrong_source(profiles: Mapping[str, Profile], profile: Profile) -> str | None:
    """Return why a profile can't get its web identity from its source; None if it can."""
    source = profile.subject_token
    names = [profile.name]
    while source is not None and source.kind == "profile":
        name = source.target[0]
        if name in names:
            return f"the exchange goes in a circle: {' from '.join([*names, name])}"
        if name not in profiles:
            return f"there is no profile '{name[:80]}' to have a token from"
        names.append(name)
        source = profiles[name].subject_token
    if len(names) > 1 and profiles[names[1]].flow == FLOW:
        return f"'{names[1]}' has AWS's own credentials, which are no web identity"
    return None
