"""The JSON Schema for editors and the compiler agree about what can be meant."""

from __future__ import annotations

import tomllib

import pytest

from brokerctl.config import fields
from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, Layers
from brokerctl.config.schema import make_schema
from brokerctl.errors import UsageError
from tests.schema import Schema

BASE = '[profile.x]\nissuer = "https://a.example.com"\nflow = "code"\nclient_id = "c"\n'

AZURE = (
    "[profile.y]\nflow = 'azure_workload'\nazure = { tenant = 't' }\nclient_id = 'c'\n"
    "scopes = ['https://a/.default']\n"
)
APP = (
    "[profile.y]\nflow = 'github_app'\nclient_key = { env = 'K' }\n[profile.y.github_app]\n"
    "app = 'a'\ninstallation = 1\nrepositories = ['b']\npermissions = { contents = 'read' }\n"
)


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        BASE + 'scopes = ["a"]\nmax_ttl = "5m"\nsend_resource = false\nextra = { a = "b" }\n',
        BASE + 'client_secret = { command = ["pass", "x"] }\n',
        BASE + 'grant_ended_errors = ["invalid_code"]\nallow_broader = false\n',
        BASE + "allow_broader = 1\n",
        BASE + 'username = "a"\nusername_match = "any"\n',
        BASE + 'username_match = "exact"\n',
        BASE + 'present = { header = "x-api-key" }\n',
        BASE + 'present = { basic = "robot" }\n',
        BASE + 'present = "bearer"\n',
        BASE + "present = {}\n",
        BASE + 'present = { header = "a", basic = "b" }\n',
        BASE + "present = { header = 1 }\n",
        BASE + 'username_match = "some"\n',
        BASE + "username_match = true\n",
        BASE + '[keys]\nkeeper = "file"\nunlock_for = "1h"\n[audit]\nrotate = "16MiB"\n',
        BASE + 'preset = "github"\n'.replace("github", "generic"),
        BASE + "scopes = 1\n",
        BASE + 'max_ttl = "5w"\n',
        BASE + 'client_secret = "x"\n',
        BASE + 'client_secret = { env = "A", store = "b" }\n',
        AZURE,
        "[profile.y]\nflow = 'publish'\npublish = { kind = 'cargo', index = 'https://a' }\n",
        "[profile.y]\nflow = 'publish'\npublish = { kind = 'npm' }\n",
        "[profile.y]\nflow = 'publish'\npublish = { index = 'https://a' }\n",
        "[profile.y]\nflow = 'azure_workload'\nazure = { tenant = 1 }\n",
        APP,
        APP.replace("permissions = {", "permissions = { a = 'all',"),
        APP.replace("{ env = 'K' }", "{ sign = ['kms', 'sign'] }"),
        APP.replace("{ env = 'K' }", "{ sign = 'kms' }"),
        APP.replace("{ env = 'K' }", "{ sign = ['x'], env = 'A' }"),
        BASE + "unknown = 1\n",
        BASE + "dpop = true\n",
        BASE + 'send_resource = "no"\n',
        BASE.replace("code", "implicit"),
        '[policy]\ndefault = "allow"\n',
        "[[policy.rule]]\nname = 'x'\neffect = 'allow'\n",
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
    faults = Schema(make_schema()).faults(tomllib.loads(text))
    assert (not faults) is is_right, faults


def test_every_key_is_in_the_schema() -> None:
    """The schema is made of the compiler's own tables."""
    properties = make_schema()["properties"]
    assert set(properties["profile"]["additionalProperties"]["properties"]) == set(fields.PROFILE)
    assert set(properties) == {"profile", "policy", *fields.SETTINGS}
