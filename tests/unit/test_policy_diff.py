"""Which recorded requests a change of the policy decides otherwise, also in a long log."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import jsonlite, policy
from brokerctl.audit.read import iterate_records
from brokerctl.audit.record import START_OF_CHAIN, close_line, render_body
from brokerctl.broker.events import event, record_fields
from brokerctl.broker.request import DecidedRequest
from brokerctl.config.rules import Rule, RuleLayer
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.policy.diff import compare, render_comparison
from tests.audit_log import RING, START, SmallLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACE = {"host": "h", "boot": "b" * 36, "pid_ns": 4026531836}
PROFILES = {
    f"p{number}": Profile(
        name=f"p{number}",
        issuer="https://issuer.example",
        flow="device",
        client_id="c",
        scopes=("api", "read", "write"),
    )
    for number in range(20)
}
TOOLS = ("git", "docker", "get")
MANY, DIFFERENT = 100_000, 2000


def layer(*rules: Rule, default: str = "deny") -> tuple[RuleLayer, ...]:
    """Make the user's policy."""
    return (RuleLayer(label="user", default=default, rules=rules),)


def rule(name: str, effect: str = "allow", **more: Any) -> Rule:  # noqa: ANN401 - a rule's fields
    """Make a rule whose conditions are the words that are no fields of it."""
    own = {key: more.pop(key) for key in ("scopes", "max_ttl_s", "reason") if key in more}
    return Rule(name=name, effect=effect, when=more, **own)


OLD = layer(
    *(rule(f"r{n}", profile=[f"p{n}"], tool=["git", "get"], max_ttl_s=900) for n in range(20))
)


def asked(number: int, **more: Any) -> TokenRequest:  # noqa: ANN401 - a request's fields
    """Make one of many requests, of which no two are of the same process and session."""
    requester = Requester(
        uid=os.geteuid(),
        pid=number + 2,
        exe="/usr/bin/git",
        parents=(("bash", "/bin/bash"),) * 6,
        tool=TOOLS[number // 20 % 3],
        session=f"s{number}",
    )
    return TokenRequest(profile=f"p{number % 20}", requester=requester, **more)


def body(request: TokenRequest, layers: tuple[RuleLayer, ...], now: float = START) -> bytes:
    """Decide a request, and return its record."""
    profile = PROFILES[request.profile]
    rules = policy.Rules(layers, "d", now, lambda _: None) if layers else None
    decision = policy.decide(profile, request, rules=rules)
    name = "token.denied" if decision.effect == "deny" else "token.handed_out"
    fields = record_fields(DecidedRequest(profile, request, decision))
    return render_body(*event(name, fields, outcome="cache"), now, PLACE)


def read(text: bytes) -> dict[str, Any]:
    """Return the fields of a record."""
    found: dict[str, Any] = jsonlite.loads(b'{"seq":1,' + text + b"}")
    return found


def fields_of(log: SmallLog) -> Iterator[dict[str, Any]]:
    """Yield the records as the command reads them."""
    return (one.fields for one in iterate_records(log.log.folder) if one.fields is not None)


def changed(
    records: list[dict[str, Any]], old: tuple[RuleLayer, ...], new: tuple[RuleLayer, ...]
) -> dict[str, Any]:
    """Return the answer about these records."""
    return render_comparison(compare(records, PROFILES, old, new))


@pytest.mark.slow("a log of 100,000 records is written and read twice")
def test_the_five_changes_in_a_long_log(tmp_path: Path) -> None:
    """Exactly those are found, and it costs little more than to read the log."""
    log = SmallLog(tmp_path)
    bodies = [body(asked(number), OLD, START + number) for number in range(DIFFERENT)]
    lines, head = [], START_OF_CHAIN
    for text in itertools.islice(itertools.cycle(bodies), MANY):
        line, head = close_line(RING, head, text)
        lines.append(line)
    log.write(b"".join(lines))
    rules = list(OLD[0].rules)
    rules[1] = rule("r1", "deny", profile=["p1"])
    rules[4] = rule("r4", profile=["p4"], tool=["git"], max_ttl_s=900)
    rules[7] = rules[7].replace(scopes=("read",))
    rules[9] = rules[9].replace(max_ttl_s=300)
    rules[12] = rules[12].replace(effect="ask")
    began = time.process_time()
    assert sum(1 for _ in fields_of(log)) == MANY
    reading_s = time.process_time() - began
    began = time.process_time()
    found = render_comparison(compare(fields_of(log), PROFILES, OLD, layer(*rules)))
    took_s = time.process_time() - began
    assert took_s < 3 * reading_s, (took_s, reading_s)
    per_cell = MANY // 60
    expected = {
        ("p1", "git"): ("narrow", "deny"),
        ("p1", "get"): ("narrow", "deny"),
        ("p4", "get"): ("narrow", "deny"),
        ("p7", "git"): ("narrow", "narrow"),
        ("p7", "get"): ("narrow", "narrow"),
        ("p9", "git"): ("narrow", "narrow"),
        ("p9", "get"): ("narrow", "narrow"),
        ("p12", "git"): ("narrow", "ask"),
        ("p12", "get"): ("narrow", "ask"),
    }
    effects = {
        (one["profile"], one["tool"]): (one["before"]["effect"], one["after"]["effect"])
        for one in found["changes"]
    }
    assert effects == expected
    assert all(abs(one["count"] - per_cell) <= DIFFERENT // 20 for one in found["changes"])
    # p1 by docker was denied by the default, and is now denied by a rule.
    assert found["requests"] == MANY == found["same"] + found["changed"] + found["other_rule"]
    assert abs(found["other_rule"] - per_cell) <= DIFFERENT // 20
    assert (found["not_known"], found["gone"]) == ([], [])


def test_what_the_record_does_not_know_is_counted_apart() -> None:
    """A terminal, a digest: no rule asked for them then, so nobody can say."""
    records = [read(body(asked(number), OLD)) for number in range(60)]
    for condition in ({"tty": True}, {"exe_sha256": ["a" * 64]}, {"login_age": 60}):
        new = layer(rule("new", "deny", profile=["p3"], **condition), *OLD[0].rules)
        found = changed(records, OLD, new)
        assert found["not_known"] == [{"fact": next(iter(condition)), "count": 3}]
        assert (found["changed"], found["same"]) == (0, 57)


def test_records_from_before_there_were_rules() -> None:
    """What was asked for by name is not in them: what depends on it is not known."""
    records = [read(body(asked(number), ())) for number in range(60)]
    assert changed(records, (), ())["same"] == 60
    assert changed(records, (), layer(rule("git", tool=["git"])))["changed"] == 40
    found = changed(records, (), layer(rule("less", scopes=("read",)), default="profile"))
    assert found["not_known"] == [{"fact": "asked", "count": 60}]
    found = changed(records, (), layer(rule("purpose", "deny", purpose=True), default="profile"))
    assert found["not_known"] == [{"fact": "purpose", "count": 60}]


def test_a_profile_that_is_gone_and_a_line_that_is_broken() -> None:
    """Neither is decided, and both are said."""
    good = read(body(asked(0), OLD))
    bad = [
        good | {"requester": 7},
        good | {"time": "yesterday"},
        good | {"requester": good["requester"] | {"parents": 1}},
        good | {"asked": {"scopes": 5}},
    ]
    cut = good | {"cut": True, "requester": good["requester"] | {"exe": "/usr/b…(+9)"}}
    foreign = good | {"requester": good["requester"] | {"uid": os.geteuid() + 1}}
    found = changed([good, good | {"profile": "x"}, *bad, cut, foreign], OLD, OLD)
    assert found["gone"] == [{"profile": "x", "count": 1}]
    counts = {one["fact"]: one["count"] for one in found["not_known"]}
    assert counts == {"damaged": len(bad), "cut": 1, "uid": 1}
    assert (found["requests"], found["same"]) == (8, 1)


def test_what_is_no_request_is_passed_over() -> None:
    """Tokens that were issued by the way, and what was refused before it was decided."""
    good = read(body(asked(0), OLD))
    others = [good | {"event": name} for name in ("token.issued", "grant.obtained", "log.checked")]
    assert changed([*others, {"event": "token.refused"}], OLD, OLD)["requests"] == 0
    login = good | {"event": "grant.obtained", "requester": good["requester"] | {"tool": "login"}}
    assert changed([login], OLD, OLD)["requests"] == 1


def test_the_newest_ones_alone() -> None:
    """With a limit the older requests do not count, nor does what is no request."""
    records = [read(body(asked(number), OLD)) for number in range(60)]
    found = compare(records, PROFILES, OLD, layer(*OLD[0].rules[1:]), 40)
    assert (found.requests, sum(one.count for one in found.changes)) == (40, 1)  # p0 by get


def test_time_counts_where_a_rule_asks_for_it() -> None:
    """The same request at another hour is another one, and only then."""
    records = [read(body(asked(0), OLD, START + 3600 * hour)) for hour in range(24)]
    night = rule("night", "deny", time=[[20 * 60, 6 * 60]])
    assert changed(records, OLD, layer(night, *OLD[0].rules))["changed"] == 10
    sunday = rule("sunday", "deny", days=["sun"])
    week = [read(body(asked(0), OLD, START + 86400 * day)) for day in range(7)]
    assert changed(week, OLD, layer(sunday, *OLD[0].rules))["changed"] == 1


def test_limits_count_where_they_bound_the_request() -> None:
    """Those of a rule that allows bound sessions alone: another number is not known, in one."""
    few, more = (layer(rule("few").replace(uses=uses)) for uses in (1, 2))
    in_session = read(body(asked(0), few))
    outside = in_session | {"requester": in_session["requester"] | {"session": None}}
    found = changed([in_session, outside], few, more)
    assert (found["same"], found["not_known"]) == (1, [{"fact": "uses", "count": 1}])


def test_an_agent_has_nothing_of_a_policy_without_rules() -> None:
    """What a rule gave an agent is denied where there is none, and the other way round."""
    one = asked(0)
    request = one.replace(requester=one.requester.replace(agent="coder"))
    record = read(body(request, OLD))
    (change,) = changed([record], OLD, ())["changes"]
    assert (change["before"]["effect"], change["after"]["effect"]) == ("narrow", "deny")
    (change,) = changed([record], (), OLD)["changes"]
    assert (change["before"]["effect"], change["after"]["effect"]) == ("deny", "narrow")
