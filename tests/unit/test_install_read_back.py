"""Rows of somebody's value that look like headers or lines of ours: a format's parser tells.

What is written into a file, and what is taken out of it, is read as a check before it is used.
"""

from __future__ import annotations

import configparser
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from brokerctl.errors import UsageError
from brokerctl.helpers.edit.toml_hcl import find_labels
from brokerctl.helpers.install import find_setup
from brokerctl.helpers.setups import Part
from brokerctl.model import Profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


REFUSED = [  # a tool, what stands in its file, and why nothing is put in
    ("cargo", "registry = 3\n", "global-credential-providers' already"),
    ("cargo", "[registry]\nglobal-credential-providers = []\n", "providers' already"),
    ("cargo", '[credential-alias]\nbrokerctl = ["x"]\n', "alias 'brokerctl' already"),
    ("cargo", "[registry\n", "is not TOML"),
    ("aws", "[profile d]\nrole_arn = x\n", "has a section for 'd' already"),
    ("aws", "no section\n", "can't be read"),
    ("pip", "[global]\nkeyring-provider = import\n", "has another 'keyring-provider'"),
    ("pip", "[global]\nkeyring_provider = import\n", "has another 'keyring-provider'"),
    ("keyring", "[backend]\ndefault-keyring = x\n", "has another 'default-keyring'"),
    ("uv", 'keyring-provider = "x"\n', "has another 'keyring-provider'"),
    ("terraform", 'credentials_helper "x" {}\n', "has a 'credentials_helper' already"),
    ("terraform", '{"disable_checkpoint": true}', "is JSON"),
    ("goauth", "GOAUTH=git /x;off\n", "has GOAUTH=off"),
    ("goauth", "GOAUTH=/b/brokerctl helper goauth\n", "names brokerctl in GOAUTH already"),
]


@pytest.mark.parametrize(("tool", "text", "said"), REFUSED)
def test_what_is_somebody_s_choice_is_not_changed(tool: str, text: str, said: str) -> None:
    """Neither is what can't be read: it says what is in the way."""
    with pytest.raises(UsageError, match=said):
        put(tool, text)


def test_a_helper_in_a_file_beside_stops_terraform(tmp_path: Path) -> None:
    """It reads all of them, and a second helper is an error to it."""
    _, setup = find_setup("terraform")
    environ = {"HOME": str(tmp_path)}
    part = Part("terraform", (PROFILE,), "/opt/b/x", environ)
    place = setup.places(environ)[0]
    assert 'credentials_helper "brokerctl"' in setup.put(place, "", part)
    beside = tmp_path / ".terraform.d" / "own.tfrc"
    beside.parent.mkdir()
    beside.write_text('credentials_helper "x" {}\n')
    with pytest.raises(UsageError, match=r"own\.tfrc has a 'credentials_helper' already"):
        setup.put(place, "", part)


def test_a_comment_names_no_block() -> None:
    """A helper's name, or a host, in a comment is no label."""
    text = 'credentials_helper # "x"\n"brokerctl" {}\n# credentials_helper "y" {}\n'
    assert find_labels(text, "credentials_helper") == {"brokerctl"}


@pytest.mark.parametrize("tool", ["gcp", "keyring", "pip", "pnpm", "terraform", "uv"])
def test_another_s_file_in_place_of_ours_stays(tool: str) -> None:
    """A script, a module or a credential file that we did not make is not written over."""
    _, setup = find_setup(tool)
    place = next((one for one in setup.places(ENVIRON) if one.is_own), setup.places(ENVIRON)[0])
    part = Part(tool, (PROFILE,), "/opt/b/x", ENVIRON)
    text = '{"credential_source": {"executable": {"command": "/theirs"}}}\n'
    assert setup.take(place, text) is None
    with pytest.raises(UsageError, match=r"another's file|is there already"):
        setup.put(place, text, part)


def test_what_was_added_to_our_credential_file_stays() -> None:
    """`gcloud auth application-default set-quota-project` writes there."""
    profile = PROFILE.replace(google=("//iam.example/pool",))
    _, setup = find_setup("gcp")
    place, part = setup.places(ENVIRON)[0], Part("gcp", (profile,), "/opt/b/x", ENVIRON)
    text = setup.put(place, "", part).replace("{", '{"quota_project_id": "q",', 1)
    assert '"quota_project_id": "q"' in setup.put(place, text, part)
    assert '"quota_project_id": "q"' in (setup.take(place, text) or "")
