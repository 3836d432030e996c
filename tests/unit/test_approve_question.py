"""What a question says, its name, and what a typed answer means."""

from __future__ import annotations

import pytest

from brokerctl.broker.channels import evaluation, parse_decision
from brokerctl.broker.question import (
    Asked,
    lease_name,
    one_line,
    parse_answer,
    question_name,
    render_lines,
)
from brokerctl.model import Decision, Profile, Requester, TokenRequest
from brokerctl.store.values import ApprovalQuestion

KEY = b"k" * 32
PROFILE = Profile(name="deploy", issuer="https://i.example", flow="code", client_id="c")
REQUESTER = Requester(
    uid=1000, pid=7, exe="/usr/bin/git", parents=(("bash", "/bin/bash"),), tool="git"
)
DECISION = Decision(
    effect="ask",
    rule="careful",
    layer="user",
    reason="a person decides",
    scopes=("read",),
    max_ttl_s=600,
    digest="d",
    asking=(("user", "careful"),),
)
REQUEST = TokenRequest(profile="deploy", requester=REQUESTER, purpose="a release")


def asked(request: TokenRequest = REQUEST, decision: Decision = DECISION) -> Asked:
    """Return what somebody is asked."""
    return Asked(
        action="token", label="deploy", profile=PROFILE, request=request, decision=decision
    )


def named(request: TokenRequest = REQUEST, decision: Decision = DECISION) -> str:
    """Return the name of the lease that covers a request."""
    name = lease_name(KEY, asked(request, decision).about, of_session=False)
    assert name is not None
    return name


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("15m", (900, None, False)),
        ("3", (3600, 3, False)),
        ("15m 3", (900, 3, False)),
        ("1H 2 ", (3600, 2, False)),
        ("15m session", (900, None, True)),
        ("3 session", (3600, 3, True)),
        ("24h", (86400, None, False)),
    ],
)
def test_leases_are_typed(text: str, terms: tuple[int, int | None, bool]) -> None:
    """A duration, a number, or both; `session` at the end."""
    answer = parse_answer(text, has_session=True, may_lease=True)
    assert answer is not None
    assert answer.is_yes
    assert (answer.lease_s, answer.uses, answer.is_for_session) == terms


@pytest.mark.parametrize(
    "text",
    [
        *("ja", "yes please", "0m", "25h", "-1", "0", "3 15m", "15m 15m", "3 3", "1_0", "1e3"),
        *("session", "y session", "15m session session", "\u0663", "\x1b[A", "yy", "1000001"),
    ],
)
def test_what_is_not_clear_is_no_answer(text: str) -> None:
    """Neither a yes nor a no is made of anything else."""
    assert parse_answer(text, has_session=True, may_lease=True) is None


def test_no_lease_where_there_can_be_none() -> None:
    """Without a session none is for it alone; of a requester that is not known there is none."""
    assert parse_answer("15m session", has_session=False, may_lease=True) is None
    assert parse_answer("15m", has_session=False, may_lease=False) is None
    unknown = REQUEST.replace(requester=REQUESTER.replace(exe=None))
    assert lease_name(KEY, asked(unknown).about, of_session=False) is None
    assert lease_name(KEY, asked().about, of_session=True) is None


@pytest.mark.parametrize(
    "other",
    [
        REQUEST.replace(profile="deploy", purpose="another"),
        REQUEST.replace(subject="who"),
        REQUEST.replace(url="https://a.example/x"),
        REQUEST.replace(is_insecure=True),
        REQUEST.replace(is_own=True),
        REQUEST.replace(requester=REQUESTER.replace(exe="/usr/bin/gi")),
        REQUEST.replace(requester=REQUESTER.replace(tool="get")),
        REQUEST.replace(requester=REQUESTER.replace(uid=0)),
        REQUEST.replace(requester=REQUESTER.replace(ci="1")),
        REQUEST.replace(requester=REQUESTER.replace(agent="coder")),
        REQUEST.replace(requester=REQUESTER.replace(parents=(("node", "/usr/bin/node"),))),
    ],
)
def test_a_lease_covers_what_was_asked_alone(other: TokenRequest) -> None:
    """Anything else that a question would say is another lease."""
    assert named(other) != named()


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": ("read", "write")},
        {"resource": ("https://a.example",)},
        {"audience": ("a",)},
        {"max_ttl_s": 601},
        {"max_ttl_s": None},
        {"digest": "e"},
        {"rule": "other", "asking": (("user", "other"),)},
        {"asking": (("system", "too"), ("user", "careful"))},
    ],
)
def test_another_decision_is_another_lease(change: dict[str, object]) -> None:
    """An edit of the policy, another rule, or more than what was asked for asks anew."""
    assert named(decision=DECISION.replace(**change)) != named()


def test_another_process_of_the_same_program_has_the_lease() -> None:
    """A process id and a parent's name are no part of it; a session is one of its own lease."""
    later = REQUESTER.replace(pid=8, parents=(("zsh", "/bin/bash"),))
    assert named(REQUEST.replace(requester=later)) == named()
    first, second = (
        asked(REQUEST.replace(requester=REQUESTER.replace(session=one))).about for one in "ab"
    )
    assert lease_name(KEY, first, of_session=True) != lease_name(KEY, second, of_session=True)
    assert lease_name(KEY, first, of_session=False) == named()
    assert question_name(KEY, first) != question_name(KEY, second)


def test_the_question_names_everything() -> None:
    """Requester, profile, scopes, host, lifetime, purpose and rule, in 80 columns."""
    text = "\n".join(render_lines(asked(REQUEST.replace(url="https://a.example/x")).about))
    for word in ("/usr/bin/git", "deploy", "read", "https://a.example/x", "10m", "a release"):
        assert word in text
    assert "careful (user): a person decides" in text
    assert max(map(len, text.split("\n"))) <= 80
    assert "may /usr/bin/git (git) have a token of 'deploy'" in one_line(asked().about)


@pytest.mark.parametrize(
    "output",
    [
        *(b"", b"true", b"[true]", b'{"decision":null}', b'{"decision":"true"}', b"{}"),
        *(b'{"decision":1}', b'{"decision":true}{}', b'{"decision":false,"decision":true}'),
        *(b'{"Decision":true}', b"\xff", b"[" * 100_000, b'{"decision":true', b'{"decision":NaN}'),
    ],
)
def test_nothing_else_is_a_decision(output: bytes) -> None:
    """A yes is a whole object whose `decision` is true."""
    assert parse_decision(output) is None


def test_a_decision_may_come_with_more() -> None:
    """AuthZEN's answer can have a context, which nobody reads here."""
    assert parse_decision(b' {"decision": true, "context": {"id": 1}}\n') is True
    assert parse_decision(b'{"decision": false}') is False


def test_the_evaluation_has_the_shape_of_authzen() -> None:
    """Subject and resource have type and id, the action a name."""
    about = asked().about
    question = ApprovalQuestion(
        id="1", profile="deploy", about="{}", asked_at=0.0, ends_at=60.0, by="command"
    )
    found = evaluation(question, about)
    assert {"type", "id"} <= found["subject"].keys() & found["resource"].keys()
    assert found["action"]["name"] == "token"
    assert found["context"]["until"] == "1970-01-01T00:01:00Z"
