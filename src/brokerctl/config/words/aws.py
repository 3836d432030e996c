"""The keys of an AWS profile: the role, and the session's name.

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

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDPOINT = "https://sts.amazonaws.com"
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
_SESSION = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_SHORTEST_S, _LONGEST_S = 900, 43200  # of AssumeRoleWithWebIdentity's DurationSeconds
_POLICY_CHARS = 2048
_KEYS = ("role", "session", "duration", "endpoint", "policy")
# Keys that mean nothing to STS. Security: with `hosts` other tools could send the secrets away.
FOREIGN = frozenset(
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


def shown(text: str) -> Any:  # noqa: ANN401 - what TOML holds
    """Return the table as it could be written."""
    return jsonlite.loads(text.encode())


def find_problem(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key that is wrong in an AWS profile and why, if one is."""
    if "max_ttl" in values:
        return (
            "max_ttl",
            f"max_ttl does not go with the flow {values['flow']}: use 'duration' in aws",
        )
    return None


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an AWS profile's values as those of any profile."""
    kept = {key: value for key, value in values.items() if key != "aws"}
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
    }
