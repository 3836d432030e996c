"""The forms of an answer: what a hostile issuer puts into a token stays text."""

from __future__ import annotations

import subprocess

import pytest

from brokerctl.errors import UsageError
from brokerctl.model import AccessToken, Profile
from brokerctl.render import render
from brokerctl.secret import Secret

PROFILE = Profile(name="ci", issuer="https://issuer.example", flow="code", client_id="app")


def line(value: str, form: str, profile: Profile = PROFILE) -> str:
    """Return the line that is printed for a token."""
    answer = AccessToken(
        value=Secret(value),
        token_type="Bearer",
        expires_at=None,
        scopes=(),
        profile="ci",
        issuer=PROFILE.issuer,
        subject=None,
        resource=(),
        fingerprint="f",
        source="cache",
    )
    return render(answer, profile, form, 0).decode()


def test_an_ordinary_token_is_not_quoted() -> None:
    """What reads NAME=VALUE without a shell sees what it always saw."""
    assert line("eyJ.a-b_c~d+e/f==", "env") == "CI_TOKEN=eyJ.a-b_c~d+e/f==\n"


@pytest.mark.parametrize(
    "value", ["$(exit${IFS}7)", "a;exit${IFS}7", "`exit`", "a'b", "'", "a\\b", '"', "x&y|z>w", "#"]
)
def test_an_evaluated_token_runs_nothing(value: str) -> None:
    """`eval "$(brokerctl get ci --format env)"` sets the variable to the token, whatever it is."""
    script = f'{line(value, "env")}printf %s "$CI_TOKEN"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, value, "")


@pytest.mark.parametrize("username", ["josé", "a b", "a\u00a0b", '"a"', "a\\", "#a"])
def test_a_netrc_line_has_the_words_that_were_meant(username: str) -> None:
    """A username that would be read as more, less or other words is refused, with its key named."""
    profile = PROFILE.replace(hosts=("https://a.example",), username=username)
    with pytest.raises(UsageError, match="no single word") as refused:
        line("t", "netrc", profile)
    assert "--set username=" in str(refused.value.hint)
    plain = profile.replace(username="x-access-token")
    assert line("t", "netrc", plain) == "machine a.example login x-access-token password t\n"


def test_a_netrc_line_has_no_port() -> None:
    """The form has none, and who reads it looks for the name alone; once is enough."""
    hosts = ("https://a.example:8443/team", "https://a.example", "http://127.0.0.1:8080")
    said = line("t", "netrc", PROFILE.replace(hosts=(*hosts, "https://[::1]:8443")))
    assert [row.split()[1] for row in said.splitlines()] == ["a.example", "127.0.0.1", "::1"]
