"""What a tool's own `set` writes into a file that `helper install` changed is read afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from brokerctl.helpers.edit.file_changes import carry_out
from brokerctl.helpers.install import find_installed, plan_install, plan_uninstall
from brokerctl.model import Profile
from tests.program import require_tool
from tests.tools.clients import require_client

if TYPE_CHECKING:
    from pathlib import Path

HOST = "https://git.example.com"
PROFILE = Profile(
    name="d",
    issuer="https://issuer.example",
    client_id="app",
    flow="aws_web_identity",
    hosts=(HOST, f"{HOST}/team"),
)
OTHER = PROFILE.replace(hosts=(*PROFILE.hosts, "https://new.example.com"))
URL = f"credential.{HOST}"


class Case(NamedTuple):
    """Commands of a tool that change its file, each after a set-up, and one that reads it."""

    program: str  # with a `+` where pip put it beside the tests
    sets: tuple[str, ...]
    read: str


CASES = {
    "aws": Case(
        "+aws",
        ("configure set region eu-central-1 --profile d",),
        "configure get region --profile d",
    ),
    "docker": Case(
        "docker", ("context create xx --docker host=tcp://x", "context use xx"), "context show"
    ),
    "git": Case(
        "git", (f"config --global {URL}.username me", "config --global a.b c"), "config --global -l"
    ),
    "git, by gh": Case(
        "git",
        (f"config --global --replace-all {URL}.helper ", f"config --global --add {URL}.helper !gh"),
        "config --global -l",
    ),
    "git, a section": Case(
        "git",
        (f"config --global --remove-section {URL}", f"config --global {URL}.provider generic"),
        "config --global -l",
    ),
    "goauth": Case(
        "+go", ("env -w GOFLAGS=-v", "env -w GOPROXY=off"), "env GOFLAGS GOPROXY GOAUTH"
    ),
    "kubernetes": Case(
        "kubectl",
        (
            "config set-cluster c --server=https://git.example.com",
            "config set-credentials brokerctl --exec-env=A=b",
        ),
        "config view --raw -o json",
    ),
    "pip": Case(
        "+pip", ("config set global.timeout 60", "config set list.format json"), "config list"
    ),
    "pnpm": Case(
        "npm", ("config set fund=false", "config set audit=false"), "config ls --location=user"
    ),
}


class Desk:
    """A home in which a tool is set up, or not, and used."""

    def __init__(self, name: str, home: Path, *, is_set_up: bool) -> None:
        self.case, self.tool, self.is_set_up = CASES[name], name.partition(",")[0], is_set_up
        case = self.case
        is_client, name = case.program[0] == "+", case.program.lstrip("+")
        self.path = require_client(name) if is_client else require_tool(name)
        home.mkdir()
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        self.environ = {"HOME": str(home), "PATH": path, "GIT_CONFIG_NOSYSTEM": "1"}

    def install(self, profile: Profile) -> None:
        """Set it up, where it is to be."""
        if self.is_set_up:
            planned = plan_install(self.tool, [profile], self.environ)
            carry_out(planned)
            assert not plan_install(self.tool, [profile], self.environ).is_change

    def run(self, words: str) -> str:
        """Run the tool; what it can't do of itself, without a set-up, it need not."""
        done = subprocess.run(
            [self.path, *words.split(" ")],
            env=self.environ,
            cwd=self.environ["HOME"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0 or not self.is_set_up, done.stderr
        return done.stdout

    def go_through(self) -> list[str]:
        """Set it up, and change it, in turns; return what the tool reads at the end."""
        for words, profile in zip(self.case.sets, (PROFILE, OTHER), strict=False):
            self.install(profile)
            self.run(words)
        if self.is_set_up:
            assert find_installed(self.tool, self.environ).is_in
            carry_out(plan_uninstall(self.tool, self.environ))
            assert not find_installed(self.tool, self.environ).is_in
        return rows(self.run(self.case.read))


def rows(said: str) -> list[str]:
    """Return what was said without what is no setting, and without our user's remains."""
    if said.startswith("{"):
        found = {name: value for name, value in json.loads(said).items() if value}
        found["users"] = [one for one in found.get("users", []) if one["name"] != "brokerctl"]
        return [json.dumps(found, sort_keys=True)]
    return sorted(row for row in said.splitlines() if row[:1] != ";" and row)


SLOW = {"aws": "five runs of aws", "pip": "six runs of pip", "pnpm": "six runs of npm"}
NAMES = [
    pytest.param(name, marks=pytest.mark.slow(SLOW[name])) if name in SLOW else name
    for name in CASES
]


@pytest.mark.parametrize("name", NAMES)
def test_the_tool_reads_what_it_wrote(tmp_path: Path, name: str) -> None:
    """As if brokerctl had never been there, and nothing of brokerctl's is left in what it reads."""
    without = Desk(name, tmp_path / "without", is_set_up=False).go_through()
    assert without
    desk = Desk(name, tmp_path / "with", is_set_up=True)
    assert desk.go_through() == without
    assert "brokerctl" not in desk.run(desk.case.read)
