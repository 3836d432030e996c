"""What a tool's own `set`, or a person, puts into a file beside ours stays and means the same.

With the next `helper install`, and with `uninstall`; wherever in the file it was put.
"""

from __future__ import annotations

import configparser
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from brokerctl.helpers.install import find_setup
from brokerctl.helpers.setups import Part
from brokerctl.model import Profile

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = Profile(
    name="d",
    issuer="https://issuer.example",
    client_id="app",
    flow="aws_web_identity",
    hosts=("https://git.example.com", "https://git.example.com/team"),
)
SECOND = FIRST.replace(name="e", hosts=(*FIRST.hosts, "https://new.example.com"))
WEAK = ("keyring-provider=", "helper=''", "usehttppath='true'", "default-keyring=")


def read_ini(text: str) -> list[str] | None:
    """Return what Python's configparser reads, as aws, pip and keyring have it do."""
    parser = configparser.RawConfigParser(default_section="\0")
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return [
        f"{name} {key}={value}" for name in parser.sections() for key, value in parser[name].items()
    ]


def read_toml(text: str) -> list[str] | None:
    """Return what a TOML file says."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    return [*flat("", found)]


def flat(path: str, found: dict[str, Any]) -> list[str]:
    """Return each value with its path."""
    lines = []
    for key, value in found.items():
        if isinstance(value, dict):
            lines += flat(f"{path}.{key}", value)
        else:
            lines.append(f"{path}.{key}={value!r}")
    return lines


def read_git(text: str) -> list[str] | None:
    """Return what `git config -l` would print of such a file."""
    section, lines = None, []
    for row in map(str.strip, text.split("\n")):
        if row[:1] == "[":
            section = row
        elif row and row[:1] not in "#;":
            if section is None:
                return None
            key, _, value = row.partition("=")
            lines.append(f"{section} {key.strip().lower()}={value.strip()!r}")
    return lines


def read_lines(text: str) -> list[str] | None:
    """Return the lines that are no comments: each stands for itself."""
    return [row.strip() for row in text.split("\n") if row.strip() and row[0] != "#"]


class Case(NamedTuple):
    """A tool: how its file reads, what stood in it, and what somebody adds."""

    read: Callable[[str], list[str] | None]
    texts: tuple[str, ...]
    added: tuple[str, ...]


CASES = {
    "aws": Case(
        read_ini,
        ("", "[default]\nregion = x\n", "[profile z]\ns3 =\n  a = b"),
        ("region = eu-central-1", "s3 =\n    max_queue_size = 9", "[profile own]\nregion = x"),
    ),
    "bazel": Case(read_lines, ("", "build --jobs=3\n"), ("common --color=no", "")),
    "cargo": Case(
        read_toml,
        ("", "[net]\noffline = true\n", "[registry]\ntoken = 'x'\n[net]\nretry = 1", "[registry]"),
        ("default = 'mine'", "[build]\njobs = 3", "other = ['/x']"),
    ),
    "git": Case(
        read_git,
        ("", "[user]\n\tname = A\n", "[credential]\n\thelper = cache"),
        ("\tusername = me", "\thelper = store", "[alias]\n\tst = status", "\tuseHttpPath = true"),
    ),
    "goauth": Case(read_lines, ("", "GOFLAGS=-v\n", "GOAUTH=git /x\nA=b"), ("GOPROXY=direct", "")),
    "keyring": Case(
        read_ini, ("", "[backend]\nnote = x\n", "[x]\na = b"), ("note2 = y", "[own]\na = b")
    ),
    "pip": Case(
        read_ini,
        ("", "[install]\nuser = no", "[global]\nindex-url = https://a.example/\n"),
        ("timeout = 60", "[list]\nformat = json", "no-index = yes"),
    ),
    "pnpm": Case(read_lines, ("", "fund=false\n", "a=b"), ("audit=false", "//x/:_authToken=y")),
    "terraform": Case(
        read_lines, ("", "disable_checkpoint = true\n"), ('plugin_cache_dir = "/x"', "")
    ),
    "uv": Case(
        read_toml, ("", "offline = true\n[pip]\nupgrade = true"), ("a = 1", "[[index]]\nurl = 'x'")
    ),
    "vault": Case(read_lines, ("", "# mine\n"), ('other = "x"', "")),
}
PAIRS = [
    (tool, text, added) for tool, one in CASES.items() for text in one.texts for added in one.added
]


class Desk:
    """A tool's set-up, on text alone."""

    def __init__(self, tool: str) -> None:
        _, self.setup = find_setup(tool)
        self.tool, self.environ = tool, {"HOME": "/home/alice"}
        self.place = self.setup.places(self.environ)[0]
        self.read = CASES[tool].read

    def put(self, text: str, profile: Profile) -> str:
        """Return the text with our part."""
        script = f"/opt/b/{self.setup.script}"
        return self.setup.put(self.place, text, Part(self.tool, (profile,), script, self.environ))

    def take(self, text: str) -> str:
        """Return the text without our part."""
        taken = self.setup.take(self.place, text)
        assert taken is not None
        return taken

    def others(self, text: str, had: list[str]) -> list[str]:
        """Return what the tool reads that is not ours: what was there, and what names nobody."""
        found = self.read(text)
        assert found is not None, text
        return sorted(one for one in found if not is_ours(one, had))


def is_ours(line: str, had: list[str]) -> bool:
    """Return whether only a set-up writes such a line, or it is Go's own in place of ours."""
    is_written = "brokerctl" in line or any(one in line for one in WEAK)
    return line.startswith("GOAUTH=") or (is_written and line not in had)


def points(desk: Desk, before: str, added: str) -> list[str]:
    """Return the texts in which something was added at each row, and the tool reads ours too."""
    whole = desk.put(before, FIRST)
    rows, wanted = whole.split("\n"), set(desk.read(whole) or [])
    texts = ["\n".join([*rows[:at], added, *rows[at:]]) for at in range(len(rows))]
    found = [text for text in texts if wanted.issubset(desk.read(text) or [])]
    assert found
    return found


@pytest.mark.parametrize(("tool", "before", "added"), PAIRS)
def test_what_somebody_adds_stays(tool: str, before: str, added: str) -> None:
    """Wherever they add it: the tool reads the same of it, with us, with more of us, without us."""
    desk = Desk(tool)
    usual = desk.read(desk.put(before, FIRST)) or []
    for text in points(desk, before, added):
        had = [one for one in desk.read(text) or [] if one not in usual] + (desk.read(before) or [])
        meant = desk.others(text, had)
        again = desk.put(text, SECOND)
        assert desk.others(again, had) == meant, text
        assert desk.put(again, SECOND) == again, text
        first = desk.put(text, FIRST)
        assert first == text or "helper" in added  # which stood between the two lines of ours
        assert desk.others(first, had) == meant, text
        for whole in (text, again, first):
            taken = desk.take(whole)
            assert desk.others(taken, had) == meant, whole
            assert "brokerctl" not in taken
            assert added in taken


@pytest.mark.parametrize(
    ("tool", "before"), [(tool, text) for tool, one in CASES.items() for text in one.texts]
)
def test_without_an_addition_nothing_is_left(tool: str, before: str) -> None:
    """Byte for byte, also where profiles came and went meanwhile."""
    desk = Desk(tool)
    for profiles in ((FIRST,), (FIRST, SECOND), (SECOND, FIRST), (FIRST, FIRST)):
        text = before
        for profile in profiles:
            text = desk.put(text, profile)
            assert not text.endswith(": end")  # else what is appended would be no line of its own
        assert desk.take(text) == before
