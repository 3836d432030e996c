"""Every word that the program says, held against golden copies: for moves that change nothing.

`golden/errors.txt` has the exit code and both streams of some 850 situations, to be read. What is
there by chance is replaced: home, pids, times, an issuer's port. The help of every command is
`docs/commands.md`, which tests/house/test_papers.py holds against the program.

`BROKERCTL_GOLDEN=write pytest tests/scripts/test_golden_answers.py` writes them anew; what `git
diff` then shows needs a reason. Nothing of brokerctl is imported here, and its modules can move.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from typing import TYPE_CHECKING

import pytest

from brokerctl.broker.events import EVENTS, event
from tests.house.source import sources
from tests.idp import main_job
from tests.idp.issuer import DemoIssuer
from tests.scripts import golden_events as events
from tests.scripts import golden_states as states
from tests.scripts import golden_tools as tools
from tests.scripts import golden_usage as usage
from tests.scripts.golden_room import GOLDEN, Forked, Forks, Room, compare, make_home

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One process for this file."""
    with Forks() as running:
        yield running


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for this file."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def rooms(forks: Forks, trace_dir: str, demo: DemoIssuer) -> tuple[Room, Room]:
    """Return a room with a key and a record alone, and one with a person's grant and a token."""
    empty = make_home(forks, trace_dir, "", "status", "audit repair")
    config = states.person_and_service(demo.url)
    secret = {"CI_SECRET": demo.secrets["basic"]}
    commands = ("login person", "get person", "get service --scope read")
    browser = main_job.scripted_browser(demo)
    held = make_home(forks, trace_dir, config, *commands, env={**browser, **secret})
    room = Room(forks, trace_dir, config, held)
    room.names = {demo.url: "<issuer>", demo.url.partition("://")[2]: "<issuer host>"}
    room.names[demo.secrets["basic"] or ""] = "<secret>"
    return Room(forks, trace_dir, usage.BASE, empty), room


def test_errors(rooms: tuple[Room, Room], demo: DemoIssuer) -> None:
    """Each situation ends with the exit code and the words that it always ended with."""
    plain, held = rooms
    blocks = plain.play([*usage.slips(), *usage.configurations(), *states.references()])
    blocks |= plain.play([*states.layers(), *states.keys(), *states.logs(), *tools.tools()])
    blocks |= held.play([*states.entries(), *states.issuers(demo)])
    compare("errors.txt", blocks)


def test_events(forks: Forks, trace_dir: str, demo: DemoIssuer) -> None:
    """A record of each event has the members that it always had, in their order."""
    program = Forked.copy(forks, trace_dir, None)
    events.play(program, demo, states.person_and_service(demo.url))
    found = events.lines(
        program, {demo.url: "<issuer>", demo.url.partition("://")[2]: "<issuer host>"}
    )
    path = os.path.join(GOLDEN, "events.jsonl")
    if os.environ.get("BROKERCTL_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(found.values()) + "\n")
    with open(path, encoding="utf-8") as file:
        wanted = file.read().splitlines()
    told = [one for one in difflib.ndiff(wanted, list(found.values())) if one[0] != " "]
    assert not told, "\n".join(told)


def test_a_record_says_what_the_schema_of_its_event_has() -> None:
    """And beside that only what the log adds to every line."""
    by_the_log = {"v", "seq", "kid", "time", "event", "host", "boot", "pid_ns", "prev", "mac"}
    with open(os.path.join(GOLDEN, "events.jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert all(line.keys() - by_the_log <= {*EVENTS[line["event"]]} for line in lines)
    with pytest.raises(TypeError, match=r"exec\.end has no scopes"):
        event("exec.end", {"outcome": "ended"}, scopes=[])


def test_every_event_has_its_line() -> None:
    """Whatever event the program can write is among the lines, or has its reason not to be."""
    form = re.compile(
        r'"((?:credential|exec|gateway|grant|lease|log|login|question|session|store|token)'
        r'\.[a-z_]+)"'
    )
    names = {name for source in sources("src") for name in form.findall(source.text)}
    with open(os.path.join(GOLDEN, "events.jsonl"), encoding="utf-8") as file:
        held = {json.loads(line)["event"] for line in file}
    assert names - events.NO_EVENTS == held | events.ELSEWHERE.keys() == EVENTS.keys()
    assert not held & events.ELSEWHERE.keys()
