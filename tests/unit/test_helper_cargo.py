"""cargo's protocol: what is a request, and what is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from brokerctl.errors import DeniedError, LoginNeededError, UsageError
from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError
from brokerctl.helpers.cargo import Cargo, fit
from brokerctl.helpers.outcomes import NotOurs
from brokerctl.secret import Secret
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, check, credential, refusal

INDEX = "https://crates.example.com/index/"
ASKED: dict[str, Any] = {
    "v": 1,
    "registry": {"index-url": f"sparse+{INDEX}", "name": "corp"},
    "kind": "get",
    "operation": "read",
    "args": [],
}


def read(**changes: object) -> CredentialRequest:
    """Return what a request with these changes is."""
    data = {key: value for key, value in {**ASKED, **changes}.items() if value is not ...}
    return Cargo().read(["--cargo-plugin"], json.dumps(data).encode(), {})


def said(answer: HelperReply | None) -> Any:  # noqa: ANN401 - JSON has any type
    """Return an answer's one line."""
    assert answer is not None
    assert answer.stdout.endswith(b"\n")
    assert answer.stdout.count(b"\n") == 1
    return json.loads(answer.stdout)


def test_the_greeting() -> None:
    """The provider speaks first."""
    assert Cargo.traits.greeting == b'{"v":[1]}\n'


@pytest.mark.parametrize("operation", ["read", "publish", "yank", "unyank", "owners"])
def test_every_operation_gets_the_same_token(operation: str) -> None:
    """What a token may do is the profile's scopes, not cargo's word for it."""
    asked = read(operation=operation, name="demo", vers="1.0.0", cksum="00")
    assert asked == CredentialRequest(action="get", url=INDEX, username="")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"v": 2}, "operation-not-supported"),
        ({"v": ...}, "operation-not-supported"),
        ({"kind": "later"}, "operation-not-supported"),
        ({"kind": ["get"]}, "operation-not-supported"),
        ({"kind": {"get": 1}}, "operation-not-supported"),
        ({"operation": "later"}, "operation-not-supported"),
        ({"registry": {"index-url": "ssh://git@crates.example.com/x"}}, "url-not-supported"),
        ({"registry": {"index-url": "file:///x"}}, "url-not-supported"),
    ],
)
def test_what_is_not_supported(changes: dict[str, Any], kind: str) -> None:
    """It has cargo's own words, and what was sent is not in them."""
    answer = read(**changes).reply
    assert said(answer)["Err"]["kind"] == kind
    assert answer is None or b"s3cret" not in answer.stdout


def test_what_is_to_be_kept_and_forgotten() -> None:
    """A token is a secret, in no repr of the request; without one there is nothing to keep."""
    asked = read(kind="login", token="s3cret")
    assert asked.reply is None
    assert (asked.action, asked.url) == ("store", INDEX)
    assert asked.offered == Secret("s3cret")
    assert "s3cret" not in repr(asked)
    assert read(kind="login") == CredentialRequest(action="store", url=INDEX, username="")
    assert read(kind="logout") == CredentialRequest(action="forget", url=INDEX, username="")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'"get"',
        b"{",
        b'{"v":1,"v":1}',
        b'{"v":NaN}',
        b"\xff",
        b"{}{}",
        b'{"v":1,"kind":"get","operation":"read"}',
        b'{"v":1,"kind":"get","operation":"read","registry":"https://crates.example.com"}',
        b'{"v":1,"kind":"get","operation":"read","registry":{"index-url":7}}',
        b'{"v":1,"kind":"get","operation":["read"],"registry":{"index-url":"https://x"}}',
        b'{"v":1,"kind":"login","token":7,"registry":{"index-url":"https://x"}}',
        b"[" * 100_000,
    ],
)
def test_what_cargo_never_sends_is_no_request(data: bytes) -> None:
    """Of two readings of one request, none is taken."""
    try:
        found = Cargo().read(["--cargo-plugin"], data, {})
    except MalformedError:
        return
    assert said(found.reply)["Err"]["kind"] == "operation-not-supported"


def test_args_decide_nothing() -> None:
    """Security: a cloned repository's configuration can hand on any."""
    hostile = ["--profile", "admin", "https://evil.example", "\n"]
    assert read(args=hostile) == read()


@pytest.mark.parametrize(
    ("hosts", "is_index"),
    [
        (("https://crates.example.com/index",), True),
        (("https://x.example", "https://crates.example.com/index"), True),
        (("https://crates.example.com",), False),
        (("https://*.example.com/index",), False),
        (("https://crates.example.com/index/deeper",), False),
        ((), False),
    ],
)
def test_an_index_is_one_of_the_hosts_itself(hosts: tuple[str, ...], *, is_index: bool) -> None:
    """Security: it names the servers that cargo sends the token to."""
    asked = read()
    assert asked.reply is None
    profile = PROFILE.replace(hosts=hosts)
    if is_index:
        check(Cargo(), asked, profile)
        return
    with pytest.raises(UsageError, match="is not among the hosts of 'forge'") as raised:
        check(Cargo(), asked, profile)
    passed_on = refusal(Cargo(), raised.value)
    assert said(passed_on) == {"Err": {"kind": "not-found"}}
    assert "write it into them" in (passed_on.note or "")


@pytest.mark.parametrize(
    ("url", "is_its"),
    [(INDEX, True), (f"{INDEX}evil/", False), (f"{INDEX}?x", False), (f"{INDEX}/", True)],
)
def test_a_logout_is_for_an_index_that_is_a_host_itself(url: str, *, is_its: bool) -> None:
    """Security: what a project's configuration names below it ends no token of ours."""
    asked = read(kind="logout", registry={"index-url": f"sparse+{url}"})
    assert asked.reply is None
    assert fit(asked, PROFILE.replace(hosts=(INDEX.rstrip("/"),))) is is_its


def test_an_index_with_a_query_is_none() -> None:
    """Security: it could be another one at the same path."""
    with pytest.raises(UsageError):
        check(
            Cargo(),
            CredentialRequest(action="get", url="https://crates.example.com/index?x"),
            PROFILE.replace(hosts=("https://crates.example.com/index",)),
        )


def test_a_token_with_and_without_an_end() -> None:
    """Seconds since 1970; without an end it is for this run of cargo."""
    asked = read()
    assert asked.reply is None
    found = said(credential(Cargo(), asked, ANSWER, PROFILE))["Ok"]
    assert found == {
        "kind": "get",
        "token": f"Bearer {TOKEN}",
        "cache": "expires",
        "expiration": 1795476591,
        "operation_independent": True,
    }
    found = said(credential(Cargo(), asked, ANSWER.replace(expires_at=None), PROFILE))["Ok"]
    assert found["cache"] == "session"
    assert "expiration" not in found


def test_refusals_say_why_and_what_to_do() -> None:
    """Both are shown by cargo, so they are escaped."""
    error = said(refusal(Cargo(), LoginNeededError("no grant\x1b", hint="run 'x'")))["Err"]
    assert error["kind"] == "other"
    assert "no grant\\x1b" in error["message"]
    assert error["caused-by"] == ["run 'x'"]
    assert said(refusal(Cargo(), DeniedError("no")))["Err"]["caused-by"] == []
    assert said(Cargo().answer(NotOurs())) == {"Err": {"kind": "not-found"}}
