"""Each kind of condition against facts that match it, nearly match it, and are not known."""

from __future__ import annotations

import os
from typing import Any

import pytest

from brokerctl.config.rules import CONDITIONS, Rule
from brokerctl.identity import Job
from brokerctl.model import Decision, Profile, Requester, TokenRequest
from brokerctl.policy.facts import (
    NOTED,
    Facts,
    find_mismatch,
    holds,
    host_of,
    known_facts,
    readings_of,
)

HEX = "a" * 64
PROFILE = Profile(name="p", issuer="https://issuer.example", flow="code", client_id="c")
LIMITS = Decision(effect="allow", rule="r", layer="l", reason="", scopes=("read",))
THURSDAY_8 = 8 * 3600.0  # 1 January 1970


@pytest.mark.parametrize(
    ("name", "wanted", "fact", "is_held"),
    [
        ("profile", ["p"], "p", True),
        ("profile", ["p"], "pq", False),
        ("profile", ["p*"], "pq", True),
        ("profile", ["p*"], "p", False),  # the star is for something
        ("profile", ["*"], "p", True),
        ("profile", ["q", "p"], "p", True),
        ("profile", ["p"], "P", False),
        ("branch", ["release-*"], "release-1/x", True),
        ("branch", ["release-*"], "a-release-1", False),
        ("exe", ["/usr/bin/*"], "/usr/bin/git", True),
        ("exe", ["/usr/bin/*"], "/usr/binary", False),
        ("exe", ["/usr/bin/git"], "/usr/bin/git (deleted)", False),
        ("repository", ["acme/*"], "acme/shop", True),
        ("repository", ["acme/*"], "acme2/shop", False),
        ("scope", ["write"], ("read", "write"), True),
        ("scope", ["write"], ("read",), False),
        ("scope", ["*"], (), False),
        ("parent", ["bash"], ("zsh", "/bin/zsh", "bash"), True),
        ("parent", ["/bin/*"], ("zsh", "/bin/zsh"), True),
        ("host", ["git.example:*"], "git.example:8443", True),
        ("host", ["git.example:*"], "git.example", False),
        ("session", True, True, True),
        ("session", True, False, False),
        ("session", False, False, True),
        ("tty", False, None, False),
        ("tty", True, None, False),
        ("fork", False, False, True),
        ("fork", True, False, False),
        ("purpose", True, "x", True),
        ("purpose", True, None, False),
        ("purpose", ["x"], "y", False),
        ("uid", [0, 1000], 1000, True),
        ("uid", [0], 1000, False),
        ("exe_sha256", [HEX], HEX, True),
        ("exe_sha256", [HEX], "b" * 64, False),
        ("method", ["GET", "HEAD"], "GET", True),
        ("method", ["GET"], "POST", False),
        ("method", ["GET"], None, False),
        ("days", ["mon", "thu"], "thu", True),
        ("days", ["mon"], "thu", False),
        ("path", ["/api"], "/api", True),
        ("path", ["/api"], "/api/v4", True),
        ("path", ["/api"], "/apis", False),
        ("path", ["/"], "/apis", True),
        ("login_age", 60, 60.0, True),
        ("login_age", 60, 60.5, False),
        ("login_age", 60, -1.0, False),  # a clock that went back
        ("login_age", 60, None, False),
        ("time", [[480, 1110]], 480, True),
        ("time", [[480, 1110]], 1109, True),
        ("time", [[480, 1110]], 1110, False),
        ("time", [[480, 1110]], 479, False),
        ("time", [[1320, 360]], 1320, True),
        ("time", [[1320, 360]], 0, True),
        ("time", [[1320, 360]], 359, True),
        ("time", [[1320, 360]], 360, False),
        ("time", [[0, 1440]], 1439, True),
        ("time", [[480, 480]], 480, False),
        ("time", [[0, 60], [120, 180]], 150, True),
    ],
)
def test_conditions(name: str, wanted: Any, fact: Any, *, is_held: bool) -> None:  # noqa: ANN401 - any kind's
    """A condition holds for what it names and for nothing else."""
    assert holds(name, wanted, fact) is is_held
    rule = Rule(name="r", effect="allow", when={name: wanted})
    mismatch = find_mismatch(rule, lambda _: fact)
    assert mismatch == (None if is_held else name)


def test_nothing_that_is_not_known_matches() -> None:
    """Whatever the condition says: a fact that can't be read matches no rule."""
    assert not any(holds(name, wanted=True, fact=None) for name in CONDITIONS)


def request(**fields: object) -> TokenRequest:
    """Make a request of this user."""
    asked = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1, tool="git"))
    return asked.replace(**fields)


def test_facts_of_a_request() -> None:
    """What costs nothing is there; a purpose is what somebody gave, and never the tool's name."""
    asked = request(url="https://Git.Example:443/a?x=1")
    facts = known_facts(PROFILE, asked, LIMITS, None, THURSDAY_8)
    assert (facts["host"], facts["tool"], facts["purpose"]) == ("git.example", "git", None)
    assert (facts["time"], facts["days"], facts["scope"]) == (480, "thu", ("read",))
    assert (facts["fork"], facts["session"], facts["method"]) == (None, False, None)
    given = known_facts(PROFILE.replace(purpose="own"), asked, LIMITS, None, THURSDAY_8)
    assert given["purpose"] == "own"
    job = Job(platform="github", id="1", fork="of x")
    assert known_facts(PROFILE, asked, LIMITS, job, THURSDAY_8)["fork"] is True
    kept = known_facts(None, asked, LIMITS, None, THURSDAY_8 + 86400)
    assert (kept["profile"], kept["subject"], kept["days"]) == (None, None, "fri")


@pytest.mark.parametrize("url", ["https://a%2eb/", "http://example.com/", "https://u@h/", "x"])
def test_a_host_in_no_plain_spelling_is_not_known(url: str) -> None:
    """It matches no rule, as two parsers could read it differently."""
    assert host_of(url) is None


def test_what_costs_is_read_once_and_only_if_all_else_holds() -> None:
    """A rule for another tool reads no terminal; what was read is noted for the record."""
    asked: list[str] = []

    def read(name: str) -> bool:
        asked.append(name)
        return True

    known = known_facts(PROFILE, request(), LIMITS, None, THURSDAY_8)
    facts = Facts(known, read)
    other = Rule(name="a", effect="allow", when={"tool": ["docker"], "tty": True})
    assert find_mismatch(other, facts) == "tool"
    assert asked == []
    own = Rule(name="b", effect="allow", when={"tool": ["git"], "days": ["thu"], "tty": True})
    assert find_mismatch(own, facts) is None
    assert find_mismatch(own, facts) is None
    assert asked == ["tty"]
    assert facts.noted == {"days": "thu", "tty": True}
    assert set(facts.noted) <= NOTED


def test_every_condition_is_known_or_read() -> None:
    """No condition is forgotten: each is among the facts that cost nothing, or costs something."""
    known = known_facts(PROFILE, request(), LIMITS, None, THURSDAY_8)
    assert set(known) == {name for name, one in CONDITIONS.items() if not one.costs}


@pytest.mark.parametrize(
    ("path", "effect", "is_matched"),
    [
        ("/admin/x", "deny", True),
        ("/admin%2Fx", "deny", True),
        ("/admin%2fx", "deny", True),
        ("/adm%69n", "deny", True),
        ("/administration", "deny", False),
        ("/admin/x", "allow", True),
        ("/admin%2Fx", "allow", False),
        ("/admin/a%2Fb", "allow", True),
    ],
)
def test_a_path_that_is_read_in_two_ways(*, path: str, effect: str, is_matched: bool) -> None:
    """A rule that denies takes the worse reading of an escaped slash, any other wants both."""
    rule = Rule(name="r", effect=effect, when={"path": ["/admin"]})
    found = {"path": readings_of(path)}
    assert (find_mismatch(rule, found.get) is None) is is_matched
