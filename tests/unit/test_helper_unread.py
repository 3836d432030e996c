"""What no protocol needs of a request spoils nothing; what it needs is never half understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from brokerctl import jsonlite
from brokerctl.helpers import CredentialRequest, MalformedError, load

if TYPE_CHECKING:
    from collections.abc import Callable

# An object's members as a tool sends them, behind members that are needed; each one is odd.
ODD_MEMBERS = {
    "Latin-1": b'"odd":"Gr\xfcn"',
    "a key that is no text": b'"\xff":1',
    "half a character": b'"odd":["\xe2\x82"]',
    "a lone surrogate": b'"odd":{"a":"\\ud800"}',
    "a repeated key": b'"odd":1,"odd":2',
    "a repeated key below": b'"odd":{"a":1,"a":2}',
    "NaN": b'"odd":NaN',
    "infinity": b'"odd":[-Infinity]',
    "a number out of range": b'"odd":1e999',
    "a number of 5,000 digits": b'"odd":' + b"9" * 5000,
    "null": b'"odd":null',
    "another kind": b'"odd":[[[{"a":[]}]]]',
    "an empty key": b'"":""',
}


def kubernetes(more: bytes) -> CredentialRequest:
    """Read what kubectl says of its cluster."""
    spec = b'{"cluster":{"server":"https://h.example",%b},%b}' % (more, more)
    text = b'{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":%b,%b}'
    info = (text % (spec, more)).decode("utf-8", "surrogateescape")
    return load("kubernetes").read([], b"", {"KUBERNETES_EXEC_INFO": info})


def cargo(more: bytes, kind: bytes = b"get") -> CredentialRequest:
    """Read a line of cargo's."""
    line = (
        b'{"v":1,"kind":"%b","operation":"read","registry":{"index-url":"https://h.example",%b},%b}'
    )
    return load("cargo").read([], line % (kind, more, more), {})


JSON: dict[str, Callable[[bytes], CredentialRequest]] = {
    "bazel": lambda more: load("bazel").read(["get"], b'{"uri":"https://h.example",%b}' % more, {}),
    "cargo": cargo,
    "cargo logout": lambda more: cargo(more, b"logout"),
    "docker store": lambda more: load("docker").read(
        ["store"],
        b'{"ServerURL":"https://h.example","Username":"a","Secret":"b",%b}' % more,
        {},
    ),
    "kubernetes": kubernetes,
}


@pytest.mark.parametrize("name", ODD_MEMBERS)
@pytest.mark.parametrize("protocol", JSON)
def test_an_odd_member_spoils_nothing(protocol: str, name: str) -> None:
    """JSON that nobody needs may be as odd as it likes, wherever it stands."""
    wanted = JSON[protocol](ODD_MEMBERS[name])
    assert wanted.reply is None
    assert wanted.url == "https://h.example"


NEEDED = {
    "bazel": (b'"uri"',),
    "cargo": (b'"v"', b'"kind"', b'"operation"', b'"registry"'),
    "cargo logout": (b'"v"', b'"kind"', b'"registry"'),
    "docker store": (b'"ServerURL"', b'"Username"', b'"Secret"'),
    "kubernetes": (b'"kind"', b'"apiVersion"', b'"spec"', b'"cluster"', b'"server"'),
}


@pytest.mark.parametrize("value", [b'"\xff"', b'"\\ud800"', b"NaN", b'"https://evil.example"'])
@pytest.mark.parametrize(
    ("protocol", "key"), [(name, key) for name, keys in NEEDED.items() for key in keys]
)
def test_a_needed_member_that_is_odd_or_repeated_is_no_request(
    protocol: str, key: bytes, value: bytes
) -> None:
    """Security: of two readings none is taken, and what is no text is no text."""
    try:
        wanted = JSON[protocol](b"%b:%b,%b:%b" % (key, value, key, value))
    except MalformedError:
        return
    assert wanted.reply is not None


@pytest.mark.parametrize("insecure", [b"true,%b:false", b"null", b"NaN", b'"\xff"'])
def test_a_flag_that_decides_is_needed(insecure: bytes) -> None:
    """Security: a cluster that is not checked is never taken for one that is."""
    key = b'"insecure-skip-tls-verify"'
    with pytest.raises(MalformedError):
        kubernetes(key + b":" + insecure.replace(b"%b", key))


@pytest.mark.parametrize("data", [b"{", b"", b"{}{}", b'{"a":"\n"}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_no_request(data: bytes) -> None:
    """Only values are forgiven, not the grammar that says where they end."""
    with pytest.raises(ValueError, match=r"JSON|decode|nested|control|property"):
        jsonlite.loads_needed(data)


def test_what_is_plain_is_read_as_ever() -> None:
    """Both readings agree where nothing is odd."""
    value = {"a": [1, 2.5, None, True, "ü\U0001f600"], "b": {"": "\\"}}
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert jsonlite.loads_needed(text.encode()) == jsonlite.loads(text.encode()) == value


# What stands around a request: arguments, stdin and variables that a protocol does not read.
AROUND = {
    "askpass": (["Password for 'https://h.example': "], "https://h.example"),
    "aws": (["--profile", "p"], None),
    "docker": (["get"], "https://h.example"),
    "gcp": (["--profile", "p"], None),
    "goauth": (["https://h.example"], "https://h.example"),
    "keyring": (["get", "https://h.example", "a"], "https://h.example"),
    "pnpm": (["--profile", "p"], None),
    "terraform": (["get", "h.example"], "https://h.example"),
    "vault": (["get"], "https://h.example"),
}
VARIABLES = {
    "VAULT_ADDR": "https://h.example",
    "VAULT_NAMESPACE": "\udcff",
    "VAULT_TOKEN": "\udcff\n",
    "BAO_ADDR": "",
    "VAULT_SKIP_VERIFY": "",
    "GOINSECURE": "\udcff,,[",
    "GOAUTH": "\udcff",
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
    "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt",
    "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE": "\udcff",
    "GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL": "\udcff\n",
    "KUBERNETES_EXEC_INFO": "",
    "DOCKER_CONFIG": "\udcff",
    "GIT_DIR": "\udcff",
}


@pytest.mark.parametrize("tool", AROUND)
def test_what_stands_around_a_request_spoils_nothing(tool: str) -> None:
    """Whatever is on a stdin that carries no request, and in variables of the tool's own."""
    words, url = AROUND[tool]
    stdin = b"https://h.example\n" if tool == "docker" else b"\xff\0\r\n" * 100
    wanted = load(tool).read(words, stdin, VARIABLES)
    assert wanted.reply is None
    assert wanted.url == url
