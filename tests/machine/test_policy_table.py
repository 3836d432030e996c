"""A table of decisions: what `get` hands out or refuses, `explain` says and `test` expects.

The store, the record and the token are real; each row is asked for by the broker of a home of its
own opening, as a command does it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from brokerctl.broker.supposed import decide_cases, explain_request
from brokerctl.errors import DeniedError
from brokerctl.home import open_home
from brokerctl.model import Requester, TokenRequest
from brokerctl.policy.cases import read_cases
from tests.machine.room import write_private

if TYPE_CHECKING:
    from tests.machine.room import Machine

HEAD = '\n[policy]\ndefault = "{default}"\n'


class Ask(NamedTuple):
    """One request, in the words of a case's facts."""

    tool: str = "get"
    purpose: str | None = None
    session: bool = False
    exe: str | None = "/usr/bin/git"
    scopes: tuple[str, ...] | None = None

    def make(self) -> TokenRequest:
        """Return it as the broker is asked."""
        requester = Requester(
            uid=os.geteuid(),
            pid=os.getpid(),
            exe=self.exe,
            parents=(("make", None),),
            tool=self.tool,
            session="s" if self.session else None,
        )
        return TokenRequest(
            profile="person", requester=requester, purpose=self.purpose, scopes=self.scopes
        )

    def case(self, expect: str) -> str:
        """Return it as a case of `policy test`."""
        asked = 'profile = "person"'
        asked += f', purpose = "{self.purpose}"' if self.purpose else ""
        asked += f", scopes = {list(self.scopes)}" if self.scopes else ""
        facts = f'tool = "{self.tool}", session = {str(self.session).lower()}, parent = ["make"]'
        facts += f', exe = "{self.exe}"' if self.exe else ""
        return (
            f'[[case]]\nname = "row"\nrequest = {{ {asked} }}\nfacts = {{ {facts} }}\n'
            f"expect = {{ {expect} }}\n"
        )


class Rows(NamedTuple):
    """A policy, and the name of the rule that decides each request: "" for the profile's limits."""

    default: str
    rules: tuple[tuple[str, str, str], ...]  # name, effect, when

    def text(self) -> str:
        """Return it as TOML."""
        rules = "".join(
            f'[[policy.rule]]\nname = "{name}"\neffect = "{effect}"\nwhen = {{ {when} }}\n'
            for name, effect, when in self.rules
        )
        return HEAD.format(default=self.default) + rules

    def expect(self, ask: Ask) -> tuple[str, str]:
        """Return effect and rule by the words of the contract."""
        matched = [(name, effect) for name, effect, when in self.rules if HOLDS[when](ask)]
        for wanted in ("deny", "ask", "allow"):
            for name, effect in matched:
                if effect == wanted:
                    return effect, name
        return ("deny", "default") if self.default == "deny" else ("allow", "within the profile")


# Each condition that is used, and what it means here.
HOLDS: dict[str, Any] = {
    "": lambda _: True,
    'profile = "person"': lambda _: True,
    'profile = "service"': lambda _: False,
    'tool = "git"': lambda ask: ask.tool == "git",
    'tool = ["get", "exec"]': lambda ask: ask.tool in {"get", "exec"},
    'tool = "g*"': lambda ask: ask.tool in {"get", "git"},
    "purpose = true": lambda ask: ask.purpose is not None,
    'purpose = "release-*"': lambda ask: (ask.purpose or "").startswith("release-"),
    "session = true": lambda ask: ask.session,
    "session = false": lambda ask: not ask.session,
    'exe = "/usr/bin/*"': lambda ask: (ask.exe or "").startswith("/usr/bin/"),
    'parent = "make"': lambda _: True,
    'parent = "sh"': lambda _: False,
    'scope = "read"': lambda ask: ask.scopes is None or "read" in ask.scopes,
    'tool = "git", purpose = true': lambda ask: ask.tool == "git" and ask.purpose is not None,
    'time = "08:00-08:00"': lambda _: False,
    'time = "00:00-24:00"': lambda _: True,
    'host = "*"': lambda _: False,
    "uid = 0": lambda _: os.geteuid() == 0,
}
POLICIES = (
    Rows("deny", (("a", "allow", 'tool = "git"'), ("b", "allow", "purpose = true"))),
    Rows("profile", (("a", "deny", 'tool = "g*"'), ("b", "allow", "session = true"))),
    Rows("deny", (("a", "allow", ""), ("b", "ask", "session = true"), ("c", "deny", 'host = "*"'))),
    Rows("profile", (("a", "ask", 'purpose = "release-*"'), ("b", "deny", 'parent = "sh"'))),
    Rows(
        "deny",
        (("a", "allow", 'exe = "/usr/bin/*"'), ("b", "deny", 'tool = "git", purpose = true')),
    ),
    Rows("deny", (("a", "allow", 'scope = "read"'), ("b", "allow", "session = false"))),
    Rows("profile", (("a", "deny", 'time = "08:00-08:00"'), ("b", "deny", 'scope = "read"'))),
    Rows("deny", (("a", "allow", 'time = "00:00-24:00"'), ("b", "ask", 'tool = ["get", "exec"]'))),
    Rows("profile", (("a", "ask", 'tool = "g*"'), ("b", "deny", "session = true"))),
    Rows("deny", (("a", "allow", 'profile = "service"'), ("b", "allow", "uid = 0"))),
    Rows("profile", (("a", "allow", 'parent = "make"'), ("b", "deny", "purpose = true"))),
)
ASKS = tuple(
    Ask(tool=tool, purpose=purpose, session=session, exe=exe, scopes=scopes)
    for tool, exe in (("get", "/usr/bin/git"), ("git", None), ("exec", "/opt/x"))
    for purpose in (None, "release-1", "other")
    for session in (False, True)
    for scopes in (None, ("openid", "offline_access"))
    if scopes is None or not session
)


def test_there_are_enough() -> None:
    """At least two hundred rows."""
    assert len(POLICIES) * len(ASKS) >= 200


@pytest.mark.parametrize("rows", POLICIES, ids=range(len(POLICIES)))
def test_the_three_agree(machine: Machine, rows: Rows) -> None:
    """`get`, `explain` and `test`, each row: effect, rule, layer and the words of a refusal."""
    with open(machine.config) as file:
        plain = file.read()
    write_private(machine.config, plain + rows.text())
    environ = machine.program.environment() | {"CI": "true"}
    cases = os.path.join(machine.home, "cases.toml")
    texts = []
    for ask in ASKS:
        effect, rule = rows.expect(ask)
        got = get(environ, ask)
        home = open_home(environ)
        _, decision, steps = explain_request(home.plan, ask.make(), home)
        layer = "built-in" if rule == "within the profile" else "user"
        is_narrow = ask.scopes is not None and effect == "allow"
        named = "narrow" if is_narrow else effect
        assert (decision.effect, decision.rule, decision.layer) == (named, rule, layer), ask
        assert got == ((effect, None) if effect == "allow" else ("refused", rule)), ask
        assert steps
        texts.append(ask.case(f'effect = "{named}", rule = "{rule}", layer = "{layer}"'))
    with open(cases, "w") as file:
        file.write("\n".join(texts))
    results = decide_cases(read_cases(cases), environ)
    assert len(results) == len(ASKS)
    assert [one.differences for one in results if one.differences] == []


def get(environ: dict[str, str], ask: Ask) -> tuple[str, str | None]:
    """Ask for the token as a command does; return what came of it."""
    home = open_home(environ, profile="person")
    try:
        token = home.broker.get(ask.make())
    except DeniedError as error:
        return "refused", error.rule
    assert token.value.reveal()
    return "allow", None


def test_an_agent_gets_nothing_without_a_rule(machine: Machine) -> None:
    """Also where no layer has any: as `get` decides, `explain` says and `test` expects."""
    environ = machine.program.environment() | {"CI": "true"}
    home, asked = open_home(environ, profile="person"), Ask().make()
    agent = asked.replace(requester=asked.requester.replace(agent="coder"))
    with pytest.raises(DeniedError, match="no rule allows it to an agent"):
        home.broker.get(agent)
    _, decision, steps = explain_request(home.plan, agent, home)
    assert (decision.effect, decision.layer, steps[-1].layer) == ("deny", "session", "session")
    cases = os.path.join(machine.home, "cases.toml")
    with open(cases, "w") as file:
        file.write(
            '[[case]]\nname = "agent"\nrequest = { profile = "person" }\n'
            'facts = { agent = "coder" }\nexpect = { effect = "deny", layer = "session" }\n'
        )
    (result,) = decide_cases(read_cases(cases), environ)
    assert result.differences == ()
