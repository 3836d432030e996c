"""A JSON Schema of the configuration file, made from the same tables that check it: for editors."""

from __future__ import annotations

from typing import Any

from brokerctl.config import fields
from brokerctl.config.indexes import INDEXES
from brokerctl.config.platforms import PLATFORMS
from brokerctl.config.presets import PRESETS
from brokerctl.config.rules import (
    AGE,
    CONDITIONS,
    DEFAULT_DENY,
    DEFAULT_PROFILE,
    EFFECTS,
    FLAG,
    GIVEN,
    NARROWED,
    NUMBER,
    ConditionTraits,
)
from brokerctl.config.scope_levels import LEVELS
from brokerctl.model import FLOWS, KEEPERS

URI = "https://json-schema.org/draft/2020-12/schema"
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_WORDS = {"type": "array", "items": _TEXT}
_LISTS = ("scopes", "resource", "audience", "hosts", "grant_ended_errors")
_DURATION = {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$"}
_REFERENCE = {
    "type": "object",
    "properties": {kind: _WORDS if kind == "command" else _TEXT for kind in fields.REFERENCE_KINDS},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}


_FILE_OR_COMMAND = (("file", _TEXT), ("command", _WORDS))


def _one_of(*words: str) -> dict[str, Any]:
    return {"enum": list(words)}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


_SOURCE = {
    "anyOf": [
        _one_of("identity"),
        {
            **_closed({"profile": _TEXT, "token": _one_of("access_token", "id_token")}),
            "required": ["profile"],
        },
        *({**_closed({kind: of}), "required": [kind]} for kind, of in _FILE_OR_COMMAND),
    ]
}
_EXCHANGE = {
    **dict.fromkeys(("subject", "actor"), _SOURCE),
    **dict.fromkeys(("subject_type", "actor_type", "requested_type"), _TEXT),
}
_NEEDS = {"": {"enum": [True]}, "command": _WORDS}
_IDENTITY = {
    "anyOf": [
        _one_of("auto"),
        *(
            {**_closed({name: _NEEDS.get(traits.needs, _TEXT)}), "required": [name]}
            for name, traits in PLATFORMS.items()
        ),
    ]
}


def _index(*, is_for_package: bool) -> dict[str, Any]:
    """Return what the table of an index holds, of those for one package or of all others."""
    kinds = [name for name, one in INDEXES.items() if one.is_for_package is is_for_package]
    package = {"package": _TEXT} if is_for_package else {}
    found = _closed({"kind": _one_of(*kinds), "index": _TEXT, **package})
    return {**found, "required": ["kind", *package]}


_AWS = {
    **dict.fromkeys(("role", "session", "endpoint", "policy"), _TEXT),
    "duration": {"type": ["integer", "string"]},
}
_GITHUB_APP = {
    **{key: {"type": ["integer", "string"]} for key in ("app", "installation")},
    "repositories": _WORDS,
    "permissions": {"type": "object", "additionalProperties": _one_of(*LEVELS)},
}
_SIGN = {**_closed({fields.SIGN: _WORDS}), "required": [fields.SIGN]}
_PROFILE: dict[str, dict[str, Any]] = {
    fields.PRESET: _one_of(*PRESETS),
    "flow": _one_of(*FLOWS),
    "client_auth": _one_of(*fields.CLIENT_AUTHS),
    "username_match": _one_of("exact", "any"),
    "exec": _one_of("own", "shared"),
    "revoke_at_exit": _one_of("access", "none"),
    "pkce_support": _one_of("required", "assumed"),
    "assertion_audience": _one_of("issuer", "token_endpoint"),
    "extra": {"type": "object", "additionalProperties": _TEXT},
    "present": {
        "anyOf": [{**_closed({key: _TEXT}), "required": [key]} for key in ("header", "basic")]
    },
    "aws": _closed(_AWS),
    "publish": {"anyOf": [_index(is_for_package=False), _index(is_for_package=True)]},
    "azure": _closed({"tenant": _TEXT}),
    "github_app": _closed(_GITHUB_APP),
    "exchange": _closed(_EXCHANGE),
    "identity": _IDENTITY,
    "google": _closed(dict.fromkeys(("pool", "service_account"), _TEXT)),
    "client_secret": _REFERENCE,
    "client_key": {"anyOf": [_REFERENCE, _SIGN]},
    **dict.fromkeys(_LISTS, _WORDS),
    **dict.fromkeys(("min_ttl", "max_ttl", "timeout", "login_wait", "lifetime"), _DURATION),
    **dict.fromkeys(
        ("refresh_ends_previous", "send_resource", "insecure_ok", "allow_broader"), _FLAG
    ),
}
_SETTINGS = {
    ("keys", "keeper"): _one_of(*KEEPERS),
    ("keys", "unlock_for"): _DURATION,
    ("helpers", "keep"): {"type": "array", "items": _one_of("git", "docker", "cargo")},
    ("approve", "wait"): _DURATION,
    ("approve", "command"): _WORDS,
    ("audit", "rotate"): {"type": "string", "pattern": "^[1-9][0-9]{0,3}[KMG]iB$"},
}


def _made_of(condition: ConditionTraits) -> dict[str, Any]:
    if condition.kind == FLAG:
        return _FLAG
    if condition.kind == NUMBER:
        return {"type": ["integer", "array"], "items": {"type": "integer"}}
    if condition.kind == AGE:
        return _DURATION
    item = _one_of(*condition.words) if condition.words else _TEXT
    more = [{"enum": [True]}] if condition.kind == GIVEN else []
    return {"anyOf": [item, {"type": "array", "items": item}, *more]}


_RULE = {
    **dict.fromkeys(("name", "reason"), _TEXT),
    "effect": _one_of(*EFFECTS),
    "when": _closed({name: _made_of(one) for name, one in CONDITIONS.items()}),
    **dict.fromkeys(NARROWED, _WORDS),
    "max_ttl": _DURATION,
    "uses": {"type": "integer", "minimum": 1},
    "rate": {"type": "string", "pattern": "^[1-9][0-9]{0,5}/[0-9]{1,9}[smhd]$"},
}
_RULES = {"type": "array", "items": {**_closed(_RULE), "required": ["name", "effect"]}}
_DEFAULT = _one_of(DEFAULT_DENY, DEFAULT_PROFILE)
# A default stands beside every rule; no policy at all is right too.
_POLICY = {
    "anyOf": [
        {**_closed({"default": _DEFAULT, "rule": _RULES}), "required": ["default"]},
        {"type": "object", "maxProperties": 0},
    ]
}


def make_schema() -> dict[str, Any]:
    """Return the schema of a user's or the system's file; what it can't say, `compile` checks."""
    profile = {key: _PROFILE.get(key, _TEXT) for key in fields.PROFILE}
    profiles = {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
        "additionalProperties": _closed(profile),
    }
    groups = {
        group: _closed({key: _SETTINGS[group, key] for key in checks})
        for group, checks in fields.SETTINGS.items()
    }
    title = "brokerctl's configuration"
    tables = {"profile": profiles, **groups, "policy": _POLICY}
    return {"$schema": URI, "title": title, **_closed(tables)}
