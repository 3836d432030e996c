"""The help of every command: on 80 columns, with an example, and without a word cut off."""

from __future__ import annotations

import re

import pytest

from brokerctl.cli.typer_classes import tidy
from brokerctl.model import FLOWS
from brokerctl.text import any_of
from tests.house.source import read

SECTIONS = re.findall(
    r"^##+ (brokerctl[a-z ]*)\n\n```text\n(.*?)```$",
    read("docs/commands.md"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize(("name", "text"), SECTIONS, ids=[name for name, _ in SECTIONS])
def test_help_is_for_people(name: str, text: str) -> None:
    """Each has an example of itself before its options, whole sentences, and no type of Python."""
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    examples = [number for number, line in enumerate(lines) if line.startswith(f"    {name}")]
    assert examples or name == "brokerctl store key"
    assert not examples or examples[0] < lines.index("Options:")
    assert not [line for line in lines[1:] if line.endswith("...")]
    assert not re.search(r"<(str|int|list)|\{[A-Z]|\[\[|x[<>]=", text)


def test_the_commands_of_the_program_are_in_the_order_of_a_day() -> None:
    """The five that are used stand first, in help as in the README."""
    listed = re.findall(
        r"^  ([a-z]+)  ", dict(SECTIONS)["brokerctl"].partition("Commands:")[2], re.MULTILINE
    )
    assert listed[:5] == ["login", "get", "exec", "revoke", "audit"]


@pytest.mark.parametrize(
    ("typers", "ours"),
    [
        ("Usage: x {NAME}", "Usage: x NAME"),
        ("  NAME <str>  The name.  [required]", "  NAME  The name."),
        ("  COMMAND <list[str]>  Words.", "  COMMAND  Words."),
        ("  --port PORT  A port.  [1<=x<=65535]", "  --port PORT  A port."),
        ("  --port PORT  Any.  [default: 0; 0<=x<=65535]", "  --port PORT  Any.  [default: 0]"),
        ("  --limit COUNT  So many.  [x>=0]", "  --limit COUNT  So many."),
        ('as { store = "NAME" }.', 'as { store = "NAME" }.'),
    ],
)
def test_what_is_tidied(typers: str, ours: str) -> None:
    """Braces, types and ranges go; what is meant stays."""
    assert tidy(typers) == ours


def test_a_flow_that_can_be_named_is_in_the_help() -> None:
    """All of them for a profile, and for a login those that a person goes through."""
    profile = " ".join(dict(SECTIONS)["brokerctl profile add"].split())
    assert f"--flow FLOW {any_of(FLOWS)}." in profile
    login = " ".join(dict(SECTIONS)["brokerctl login"].split())
    named = any_of(name for name, one in FLOWS.items() if one.needs_person)
    assert f"--flow FLOW {named}; else the profile's." in login
    assert f"# {any_of(FLOWS)}\n" in read("README.md")
