"""Rows of somebody's value that look like headers or lines of ours: a format's parser tells.

What is written into a file, and what is taken out of it, is read as a check before it is used.
"""

from __future__ import annotations

import configparser
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from brokerctl.errors import UsageError
from brokerctl.helpers.installing import find_setup
from brokerctl.helpers.setups import Part
from brokerctl.model import Profile

if TYPE_CHECKING:
    from collections.abc import Callable

PROFILE = Profile(
    name="d",
    issuer="https://issuer.example",
    client_id="app",
    flow="aws_web_identity",
    hosts=("https://git.example.com",),
)
ENVIRON = {"HOME": "/home/alice"}


def read_ini(text: str) -> dict[str, Any]:
    """Return what Python's configparser reads, as aws, pip and keyring have it do."""
    parser = configparser.RawConfigParser(default_section="\0")
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


class Case(NamedTuple):
    """A tool: how its file reads, where our line goes, how it begins, how a value may hold it."""

    read: Callable[[str], dict[str, Any]]
    section: str
    ours: str
    value: str  # somebody's, which holds a row
    other: str  # a key of the section


TOML, INI = 'note = """\n{}\n"""', "note =\n    {}"
CASES = {
    "aws": Case(read_ini, "profile d", "credential_process", INI, "region = x"),
    "cargo": Case(tomllib.loads, "registry", "global-credential-providers", TOML, "default = 'x'"),
    "keyring": Case(read_ini, "backend", "keyring-path", INI, "other = x"),
    "pip": Case(read_ini, "global", "keyring-provider", INI, "timeout = 60"),
}


def put(tool: str, text: str) -> str:
    """Return the text with our part."""
    _, setup = find_setup(tool)
    part = Part(tool, (PROFILE,), f"/opt/b/{setup.script}", ENVIRON)
    return setup.put(setup.places(ENVIRON)[0], text, part)


def take(tool: str, text: str) -> str | None:
    """Return the text without our part."""
    _, setup = find_setup(tool)
    return setup.take(setup.places(ENVIRON)[0], text)


@pytest.mark.parametrize("tool", CASES)
def test_a_header_in_somebody_s_value_is_none(tool: str) -> None:
    """Our line goes below the real one, and comes out again."""
    case = CASES[tool]
    header = f"[{case.section}]"
    text = f"[own]\n{case.value.format(header)}\n{header}\n{case.other}\n"
    before, after = case.read(text), case.read(put(tool, text))
    assert after["own"] == before["own"]
    added = after[case.section].keys() - before[case.section].keys()
    assert case.ours in added
    assert {**after[case.section], **before[case.section]} == after[case.section]
    assert take(tool, put(tool, text)) == text


@pytest.mark.parametrize("tool", CASES)
def test_a_line_of_ours_in_somebody_s_value_stays(tool: str) -> None:
    """To cut it out would change the value, so that it is refused."""
    case = CASES[tool]
    rows = put(tool, "").split("\n")
    changed = [case.value.format(row) if row.startswith(case.ours) else row for row in rows]
    assert changed != rows
    with pytest.raises(UsageError, match="can't take brokerctl out of"):
        take(tool, "\n".join(changed))
