"""The profile of `login URL`: its name, its keys, and no secret in the command line."""

from __future__ import annotations

import pytest

from brokerctl.config.new_profile import name_of, parse_reference, values_of
from brokerctl.errors import UsageError


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://issuer.example.com", "issuer.example.com"),
        ("https://issuer.example.com/tenant", "issuer.example.com"),
        ("https://issuer.example.com:8443/x", "issuer.example.com-8443"),
        ("http://127.0.0.1:9000", "127.0.0.1-9000"),
        ("https://example.com:443", "example.com"),
    ],
)
def test_names(url: str, name: str) -> None:
    """Host, and the port after `-` (contract, section 3)."""
    assert name_of(url) == name


@pytest.mark.parametrize("url", ["http://example.com", "https://a@b.example", "nonsense", ""])
def test_not_an_issuer(url: str) -> None:
    """A URL that no issuer can have is refused before anything is written."""
    with pytest.raises(UsageError):
        values_of(url, "c", flow=None, scopes=(), client_secret=None)


def test_values() -> None:
    """The keys are the least that says what was meant."""
    url = "https://issuer.example.com/t/"
    assert values_of(url, "c", flow=None, scopes=(), client_secret=None) == {
        "issuer": url,
        "flow": "code",
        "client_id": "c",
    }
    full = values_of(url, "c", flow="device", scopes=("a", "b"), client_secret="env:X")
    assert full["client_auth"] == "client_secret_basic"
    assert full["client_secret"] == {"env": "X"}
    assert (full["flow"], full["scopes"]) == ("device", ["a", "b"])


@pytest.mark.parametrize("text", ["hunter2", "pass:word", ":x", "command:cat x"])
def test_no_literal_secret(text: str) -> None:
    """A literal secret is refused, and never repeated."""
    with pytest.raises(UsageError) as refused:
        parse_reference(text)
    assert text not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize("kind", ["env", "file", "keyring", "store"])
def test_references(kind: str) -> None:
    """Each reference that fits one word is taken."""
    assert parse_reference(f"{kind}:a:b/c") == {kind: "a:b/c"}
