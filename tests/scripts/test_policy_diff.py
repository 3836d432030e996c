"""`brokerctl policy diff` over a real record: projects, kept credentials, questions and leases."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.idp import main_job
from tests.idp.issuer import DemoIssuer
from tests.scripts.approve_room import RULE, AskingProgram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

OPEN = '[policy]\ndefault = "profile"\n'
CLOSED = '[policy]\ndefault = "deny"\n'
ASKED = 'default = "profile"\n[[policy.rule]]\nname = "a person decides"\neffect = "ask"\n'


def rule(name: str, effect: str = "allow", more: str = "") -> str:
    """Return one rule."""
    return f'[[policy.rule]]\nname = "{name}"\neffect = "{effect}"\n{more}\n'


READS = OPEN + rule("reads", more='scopes = ["read"]')


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for this file."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


class Recorded:
    """A home whose requests are recorded under a policy, and compared with others."""

    def __init__(self, program: Program, demo: DemoIssuer) -> None:
        self.program, self.demo = program, demo
        self.asking = AskingProgram(program, demo)
        self.write(OPEN)

    def write(self, policy: str) -> None:
        """Write the configuration with this policy."""
        main_job.service(self.program, self.demo, scopes='["read", "write"]')
        path = os.path.join(self.program.home, "config.toml")
        with open(path, "a", encoding="utf-8") as file:
            file.write(f'[helpers]\nkeep = ["git"]\n[approve]\nwait = "60s"\n{policy}')

    def project(self, text: str) -> str:
        """Return a folder whose project file is trusted."""
        folder = tempfile.mkdtemp(dir=self.program.home)
        path = os.path.join(folder, ".brokerctl.toml")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)
        assert self.program("trust", folder, "--yes").returncode == 0
        return folder

    def compared(self, old: str, new: str, *more: str, cwd: str | None = None) -> dict[str, Any]:
        """Return what `policy diff` says about two policies."""
        paths = []
        for name, text in (("old", old), ("new", new)):
            paths.append(os.path.join(self.program.home, f"{name}.toml"))
            with open(paths[-1], "w", encoding="utf-8") as file:
                file.write(text)
        done = self.program("policy", "diff", *paths, *more, "--json", cwd=cwd)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def recorded(brokerctl: Program, demo: DemoIssuer) -> Recorded:
    """Return a home without a record."""
    demo.reset()
    return Recorded(brokerctl, demo)


def ways(found: dict[str, Any]) -> list[tuple[str | None, str, str, int]]:
    """Return what changes: whose requests, from which effect to which, and how many."""
    return [
        (one["profile"], one["before"]["effect"], one["after"]["effect"], one["count"])
        for one in found["changes"]
    ]


def not_known(found: dict[str, Any]) -> dict[str, int]:
    """Return what can't be said, by the fact that is missing."""
    return {one["fact"]: one["count"] for one in found["not_known"]}


def test_what_a_project_left_is_no_change(recorded: Recorded) -> None:
    """A new rule that narrows to what a trusted project had left anyway takes nothing away."""
    policy = OPEN + rule("night", "deny", 'when = { tool = "docker" }')
    recorded.write(policy)
    folder = recorded.project('[profile.service]\nscopes = ["read"]\n')
    assert recorded.program("get", "service", cwd=folder).returncode == 0
    assert recorded.compared(policy, READS)["changes"] == []
    assert recorded.program("get", "service").returncode == 0
    assert recorded.program("get", "service", "--scope", "write", cwd=folder).returncode == 4
    found = recorded.compared(policy, READS)
    assert ways(found) == [("service", "allow", "narrow", 1)]
    (change,) = found["changes"]
    assert (change["before"]["scopes"], change["after"]["scopes"]) == (["read", "write"], ["read"])
    assert (found["requests"], found["same"] + found["other_rule"]) == (3, 2)
    writes = OPEN + rule("writes", more='scopes = ["write"]')
    found = recorded.compared(policy, writes)
    assert sorted(ways(found)) == [
        ("service", "allow", "narrow", 1),
        ("service", "narrow", "deny", 1),
    ]


def test_a_project_s_scopes_that_the_profile_has_no_more(recorded: Recorded) -> None:
    """Nobody knows what the project would leave of other ones: said, and counted apart."""
    policy = OPEN + rule("all")
    recorded.write(policy)
    folder = recorded.project('[profile.service]\nscopes = ["write"]\n')
    assert recorded.program("get", "service", cwd=folder).returncode == 0
    main_job.service(recorded.program, recorded.demo)  # of which `write` is none
    found = recorded.compared(policy, READS)
    assert (found["requests"], found["changes"]) == (1, [])
    assert not_known(found) == {"project_scopes": 1}


def test_before_there_were_rules_a_project_s_scopes_are_not_known(recorded: Recorded) -> None:
    """What was asked for by name was not recorded: it may have been a project, or `--scope`."""
    recorded.write("")
    folder = recorded.project('[profile.service]\nscopes = ["read"]\n')
    assert recorded.program("get", "service", cwd=folder).returncode == 0
    found = recorded.compared("", READS)
    assert (found["changes"], not_known(found)) == ([], {"asked": 1})


def test_a_project_s_rules_are_a_layer_of_their_own(recorded: Recorded) -> None:
    """What one denied is decided by the two policies, and by the project's where that is named."""
    policy = OPEN + rule("all")
    recorded.write(policy)
    text = OPEN + rule("no get", "deny", 'when = { tool = "get" }')
    folder = recorded.project(text)
    assert recorded.program("get", "service", cwd=folder).returncode == 4
    docker = CLOSED + rule("docker", more='when = { tool = "docker" }')
    found = recorded.compared(policy, docker, cwd=folder)
    assert ways(found) == [("service", "allow", "deny", 1)]
    assert recorded.compared(policy, policy)["same"] == 1
    found = recorded.compared(text, OPEN, "--layer", "project")
    assert ways(found) == [("service", "deny", "allow", 1)]


def test_what_tools_had_us_keep(recorded: Recorded) -> None:
    """Its requests have a host and no profile: rules about profiles are none for them."""
    program = recorded.program
    for host in ("one.example", "two.example"):
        stored = f"protocol=https\nhost={host}\nusername=u\npassword=planted\n\n"
        assert program("helper", "git", "store", stdin=stored).returncode == 0
        asked = f"protocol=https\nhost={host}\n\n"
        assert "password" in program("helper", "git", "get", stdin=asked).stdout
    two = 'when = { host = "two.example" }'
    recorded.write(OPEN + rule("not two", "deny", two))
    asked = "protocol=https\nhost=two.example\n\n"
    assert "password" not in program("helper", "git", "get", stdin=asked).stdout
    found = recorded.compared(OPEN, OPEN + rule("not two", "deny", two))
    assert (found["requests"], found["same"]) == (3, 1)
    assert ways(found) == [(None, "allow", "deny", 2)]  # one was denied by that rule, then
    assert (
        recorded.compared(OPEN, OPEN + rule("p", "deny", 'when = { profile = "*" }'))["same"] == 3
    )
    purpose = OPEN + rule("why", "deny", "when = { purpose = true }")
    found = recorded.compared(OPEN, purpose)
    assert (found["changes"], not_known(found)) == ([], {"purpose": 3})
    tty = OPEN + rule("tty", "deny", "when = { tty = false }")
    assert not_known(recorded.compared(OPEN, tty)) == {"tty": 3}
    text = program("policy", "diff", "-", os.path.join(program.home, "old.toml")).stdout
    assert "what was kept by git: 2, the last on " in text


def ask(recorded: Recorded, answer: str, *more: str) -> None:
    """Ask for the token, and answer from another terminal."""
    waiting = recorded.program.start("get", "service")
    terminal = recorded.asking.spawn("approve", answer, recorded.asking.open_question(), *more)
    assert terminal.end() == 0, terminal.shown
    waiting.communicate()
    assert waiting.returncode == (0 if answer == "yes" else 4)


def test_questions_and_leases_are_no_requests(recorded: Recorded) -> None:
    """Each hand-out and each refusal is one, however it was answered; what was said is not."""
    asks = f"[policy]\n{ASKED}"
    recorded.write(asks)
    ask(recorded, "no")
    ask(recorded, "yes", "--for", "15m", "--uses", "3")
    assert recorded.program("get", "service").returncode == 0  # by the lease
    events = [one["event"] for one in recorded.asking.records("question.asked", "lease.given")]
    assert events == ["question.asked", "question.asked", "lease.given"]
    found = recorded.compared(asks, asks)
    assert (found["requests"], found["same"]) == (3, 3)
    assert ways(recorded.compared(asks, OPEN)) == [("service", "ask", "allow", 3)]
    no = OPEN + rule("no", "deny")
    assert ways(recorded.compared(asks, no)) == [("service", "ask", "deny", 3)]
    less = RULE.format(more='max_ttl = "5m"')
    assert ways(recorded.compared(asks, less)) == [("service", "ask", "ask", 3)]
    other = asks.replace("a person decides", "somebody decides")
    found = recorded.compared(asks, other)
    assert (found["changes"], found["other_rule"]) == ([], 3)


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("", "uses = 1\n", "uses"),
        ("uses = 3\n", "uses = 1\n", "uses"),
        ('rate = "10/1m"\n', 'rate = "1/1m"\n', "rate"),
        ("uses = 3\n", "", "uses"),
    ],
)
def test_what_was_counted_is_not_known(
    recorded: Recorded, old: str, new: str, missing: str
) -> None:
    """Whether a use was left is in no record: it is said, and counted as no change."""
    recorded.write(f"[policy]\n{ASKED}{old}")
    ask(recorded, "yes")
    before, after = (f"[policy]\n{ASKED}{one}" for one in (old, new))
    found = recorded.compared(before, after)
    assert (found["changes"], not_known(found), found["same"]) == ([], {missing: 1}, 0)
    assert recorded.compared(before, before)["same"] == 1
