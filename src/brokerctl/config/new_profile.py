"""The values that `profile add` and `login URL` write; a person is asked for what is missing."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from brokerctl.config import fields
from brokerctl.config.fields import profile_name
from brokerctl.config.hosts import parse_issuer, parse_url
from brokerctl.config.presets import PRESETS, get_preset
from brokerctl.errors import UsageError, shell_word
from brokerctl.model import FLOWS, FlowTraits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_PROMPTS = {
    "issuer": "issuer URL",
    "client_id": "client id",
    "scopes": "scopes, separated by spaces (none: the issuer's default)",
}
_OPTIONAL = frozenset({"scopes"})
_LISTS = frozenset({"scopes", "resource", "audience", "hosts"})
_KINDS = ("env", "file", "keyring", "store")


def find_preset(name: str, preset: str | None, values: Mapping[str, Any]) -> str:
    """Return the preset to use: the one named, else the profile's own name, else generic."""
    if preset is not None:
        return get_preset(preset).name
    return name if name in PRESETS and "issuer" not in values else "generic"


def complete(
    name: str,
    given: Mapping[str, Any],
    preset_name: str,
    ask: Callable[[str], str] | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return a profile's TOML values; without `ask` a missing one is a UsageError."""
    values = dict(given)
    if FLOWS.get(given.get("flow", ""), FlowTraits()).table:
        # Issuer or client are made of its table. Its own checks say what is missing or too much.
        return values if preset_name == "generic" else {"preset": preset_name, **values}
    preset = get_preset(preset_name)
    missing = [key for key in preset.questions if key not in values]
    if ask is None:
        _refuse_missing(name, [key for key in missing if key not in _OPTIONAL])
    elif missing:
        say(f"{preset.title[:1].upper()}{preset.title[1:]} needs an app of yours, once:")
        for note in preset.notes:
            say(f"  {note}")
        for key in missing:
            answer = ask(_PROMPTS[key]).strip()
            if answer or key not in _OPTIONAL:
                values[key] = answer.split() if key in _LISTS else answer
    first: dict[str, Any] = {"preset": preset.name}
    if preset.issuer is None:
        first = {"issuer": values.pop("issuer"), "flow": values.pop("flow", "code")}
    return first | values


def _refuse_missing(name: str, missing: list[str]) -> None:
    if missing:
        options = " ".join(f"--{key.replace('_', '-')} …" for key in missing)
        raise UsageError(
            f"profile '{name}' needs {' and '.join(missing)}, and there is no terminal to ask on",
            hint=f"run 'brokerctl profile add {shell_word(name)} {options}'",
        )


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Return the TOML values of `KEY=VALUE` options.

    VALUE is TOML, or a plain string where TOML would want quotation marks; of a secret it is a
    reference, as `env:NAME`; of a list words separated by spaces will do.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError("an option of this kind is KEY=VALUE", hint="as in --set max_ttl=15m")
        found[key] = parse_setting(key, value.strip())
    return found


def parse_setting(key: str, text: str) -> Any:  # noqa: ANN401 - what TOML holds
    """Return one value as TOML would read it."""
    check = fields.PROFILE.get(key)
    if text.startswith(("{", "[", '"', "'")) or text in {"true", "false"}:
        try:
            return tomllib.loads(f"x = {text}")["x"]
        except (ValueError, RecursionError):
            raise UsageError(
                f"the value of {key} is not TOML", hint=f'as in \'{key}=["one", "two"]\''
            ) from None
    if check in {fields.reference, fields.client_key}:
        return parse_reference(text)
    return text.split() if key in _LISTS else text


def name_of(url: str) -> str:
    """Return the name of a URL's profile: its host, and its port after `-` where it has one."""
    parsed = parse_url(url)
    name = parsed.host.strip("[]").replace(":", ".")
    authority = url.partition("://")[2].partition("/")[0]
    port = authority.rpartition("]")[2].rpartition(":")[2] if ":" in authority[-6:] else ""
    return profile_name(f"{name}-{port}" if port.isdecimal() and port != "443" else name)


def values_of(
    url: str,
    client_id: str,
    *,
    flow: str | None,
    scopes: tuple[str, ...],
    client_secret: str | None,
) -> dict[str, Any]:
    """Return the profile's keys as TOML values; the compiler checks them like any other."""
    values: dict[str, Any] = {"issuer": parse_issuer(url), "flow": flow or "code"}
    values["client_id"] = client_id
    if client_secret is not None:
        values["client_auth"] = "client_secret_basic"
        values["client_secret"] = parse_reference(client_secret)
    if scopes:
        values["scopes"] = list(scopes)
    return values


def parse_reference(text: str) -> dict[str, str]:
    """Return the TOML form of `env:NAME`, `file:PATH`, `keyring:SERVICE/NAME` or `store:NAME`."""
    kind, colon, target = text.partition(":")
    if not colon or kind not in _KINDS or not target:
        # Security: the text may be the secret itself, so it is not repeated.
        raise UsageError(
            "--client-secret takes a reference, never the secret itself",
            hint=f"write one of {', '.join(f'{kind}:…' for kind in _KINDS)}",
        )
    return {kind: target}
