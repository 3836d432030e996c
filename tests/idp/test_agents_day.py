"""A day of four agents at once: expiries, a question, an edit, an end, and the record of it all."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from tests.idp.main_job import service
from tests.idp.test_demo_issuer import DemoIssuer
from tests.socket_room import HeldSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.program import Program

LIFE_S = 2
REQUESTS = 2000
WAIT_S = 120.0
RULES = """
[approve]
wait = "60s"
[policy]
default = "deny"
[[policy.rule]]
name = "work"
when = { agent = ["a", "b", "c"] }
effect = "allow"
[[policy.rule]]
name = "asks"
when = { agent = "d" }
effect = "ask"
"""


@pytest.fixture
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """An issuer whose tokens end soon."""
    with DemoIssuer(tempfile.mkdtemp(prefix="demo-", dir=trace_dir)) as running:
        running.change(access_ttl=LIFE_S)
        yield running


class Agent(threading.Thread):
    """Asks for a token again and again, as a program does that keeps none."""

    def __init__(self, name: str, session: HeldSession, enough: threading.Event) -> None:
        super().__init__()
        self.name, self.session, self.enough = name, session, enough
        self.answers: Counter[int] = Counter()
        self.tokens: set[str] = set()
        self.last = 0

    def run(self) -> None:
        """Ask until the day is over."""
        while not self.enough.is_set():
            found = self.session.ask("/token/service")
            self.last = found.status
            self.answers[found.status] += 1
            if found.status == 200:
                self.tokens.add(found.token)
            else:
                time.sleep(0.02)


def wait_until(is_so: Callable[[], Any]) -> Any:  # noqa: ANN401 - what it is
    """Return what it is at last."""
    end = time.monotonic() + WAIT_S
    while not (found := is_so()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.mark.slow(reason="tokens end three times, and two thousand requests are sent")
def test_an_agents_day(brokerctl: Program, demo: DemoIssuer) -> None:
    """Each gets what its rule says for as long as it does; nothing of any of them is left alive."""
    service(brokerctl, demo)
    path = f"{brokerctl.home}/config.toml"
    with open(path, encoding="utf-8") as file:
        profile = file.read()
    brokerctl.config(profile + RULES)
    enough = threading.Event()
    words = ("-p", "service", "--socket", "--agent")
    agents = {name: Agent(name, HeldSession(brokerctl, *words, name), enough) for name in "abcd"}
    for agent in agents.values():
        agent.start()
    questions = wait_until(lambda: _questions(brokerctl))
    _say_yes(brokerctl, questions[0]["id"])
    wait_until(lambda: all(len(agent.tokens) >= 3 for agent in agents.values()))
    _edit(brokerctl, profile + RULES.replace('"b", ', ""))
    wait_until(lambda: agents["b"].last == 403)
    again = wait_until(lambda: _questions(brokerctl))  # the lease was for the policy of before
    _say_yes(brokerctl, again[0]["id"])
    ended = agents["c"].session.ask("/").json["session"]
    assert brokerctl("session", "end", ended).returncode == 0
    wait_until(lambda: agents["c"].last == 410)
    wait_until(lambda: sum(agent.answers.total() for agent in agents.values()) >= REQUESTS)
    enough.set()
    for agent in agents.values():
        agent.join()
        assert agent.session.end()[0] == 0
    tokens = set().union(*(agent.tokens for agent in agents.values()))
    assert not any(map(demo.is_active, tokens))
    assert {name: set(agent.answers) for name, agent in agents.items()} == {
        "a": {200},
        "b": {200, 403},
        "c": {200, 410},
        "d": {200},
    }
    records = [json.loads(line) for line in brokerctl("audit", "log", "--json").stdout.splitlines()]
    events = Counter(one["event"] for one in records)
    given = events["token.handed_out"] - events["token.not_delivered"]  # … as it ended meanwhile
    assert given == sum(agent.answers[200] for agent in agents.values())
    assert events["token.issued"] == len(tokens)
    assert (events["session.started"], events["session.ended"], events["exec.end"]) == (4, 1, 4)
    assert brokerctl("audit", "verify").returncode == 0
    assert brokerctl("session", "list").stdout == "no session has anything to end\n"


def _edit(brokerctl: Program, text: str) -> None:
    """Replace the configuration in one step, as editors do."""
    path = f"{brokerctl.home}/config.toml"
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def _say_yes(brokerctl: Program, which: str) -> None:
    """Give a lease, at a terminal of one's own."""
    words = ["approve", "yes", which, "--for", "15m"]
    terminal = pexpect.spawn(brokerctl.path, words, env=brokerctl.environment(), timeout=WAIT_S)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0, terminal.before


def _questions(brokerctl: Program) -> list[dict[str, Any]]:
    found = json.loads(brokerctl("approve", "list", "--json").stdout)
    return list(found["questions"])
