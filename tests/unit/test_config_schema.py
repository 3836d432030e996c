"""The JSON Schema for editors and the compiler agree about what can be meant."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from brokerctl.config import fields
from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, Layers
from brokerctl.config.schema import make_schema
from brokerctl.errors import UsageError

BASE = '[profile.x]\nissuer = "https://a.example.com"\nflow = "code"\nclient_id = "c"\n'
TYPES: dict[str, type] = {"string": str, "boolean": bool, "array": list, "object": dict}


def fits(value: Any, schema: dict[str, Any]) -> bool:  # noqa: ANN401 - what TOML holds
    """Return whether a value fits, for the few words of JSON Schema that ours uses."""
    if "enum" in schema:
        return value in schema["enum"]
    if not isinstance(value, TYPES[schema["type"]]):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        return all(fits(item, schema["items"]) for item in value)
    return not isinstance(value, dict) or _fits_table(value, schema)


def _fits_table(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 999):
        return False
    other = schema["additionalProperties"]
    names = re.compile(schema.get("propertyNames", {}).get("pattern", ""))
    for key, item in value.items():
        inner = schema.get("properties", {}).get(key, other)
        if inner is False or not names.search(key) or not fits(item, inner):
            return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        BASE + 'scopes = ["a"]\nmax_ttl = "5m"\nsend_resource = false\nextra = { a = "b" }\n',
        BASE + 'client_secret = { command = ["pass", "x"] }\n',
        BASE + '[keys]\nkeeper = "file"\nunlock_for = "1h"\n[audit]\nrotate = "16MiB"\n',
        BASE + 'preset = "github"\n'.replace("github", "generic"),
        BASE + "scopes = 1\n",
        BASE + 'max_ttl = "5w"\n',
        BASE + 'client_secret = "x"\n',
        BASE + 'client_secret = { env = "A", store = "b" }\n',
        BASE + "unknown = 1\n",
        BASE + "dpop = true\n",
        BASE + 'send_resource = "no"\n',
        BASE.replace("code", "implicit"),
        '[policy]\ndefault = "deny"\n',
        "[profile.X]\n",
    ],
)
def test_schema_and_compiler_agree(text: str) -> None:
    """What an editor underlines is what the compiler refuses."""
    try:
        compile_layers(
            Layers(files=(Layer(label="user", path="/c", content=text.encode()),)), {"HOME": "/h"}
        )
        is_right = True
    except UsageError:
        is_right = False
    assert fits(tomllib.loads(text), make_schema()) is is_right


def test_every_key_is_in_the_schema() -> None:
    """The schema is made of the compiler's own tables."""
    properties = make_schema()["properties"]
    assert set(properties["profile"]["additionalProperties"]["properties"]) == set(fields.PROFILE)
    assert set(properties) == {"profile", *fields.SETTINGS}
