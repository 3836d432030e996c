"""A corpus of odd requests: none of them is read as one for a host of ours."""

from __future__ import annotations

import pytest

from brokerctl.config.hosts import find_profiles
from brokerctl.errors import UsageError
from brokerctl.helpers import HelperReply, MalformedError
from brokerctl.helpers.git import Git
from tests.contracts.helper_contract import PROFILE
from tests.unit.git_requests import HOSTS, MALFORMED, NOBODY, NOTHING, OURS, UNREAD, Case, all_cases

CASES = all_cases()
FORGE = PROFILE.replace(hosts=HOSTS)


def outcome(data: bytes, operation: str = "get") -> str:
    """Return what a request is read as, and whose it is."""
    try:
        wanted = Git().read([operation], data, {})
    except MalformedError as error:
        # It shows nothing of what was sent.
        return MALFORMED if "example" not in str(error) else str(error)
    if wanted.reply is not None:
        assert wanted.reply == HelperReply()
        return NOTHING
    try:
        return FORGE.name if find_profiles(wanted.url or "", [FORGE]) else NOBODY
    except UsageError:
        return NOBODY


def test_there_are_many() -> None:
    """At least 200, each with a name and bytes of its own."""
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len({case.data for case in CASES}) == len(CASES)


@pytest.mark.parametrize("operation", ["get", "erase"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_request_is_for_nobody(case: Case, operation: str) -> None:
    """Security: it is refused, or nothing of ours, and never half understood."""
    assert outcome(case.data, operation) == case.outcome


@pytest.mark.parametrize(
    "data",
    [
        OURS,
        OURS.replace(b"git.example.com", b"GIT.Example.COM:443"),
        OURS.replace(b"git.example.com", b"[2001:db8::1]"),
        OURS.replace(b"git.example.com", b"xn--bcher-kva.forge.example"),
        OURS.replace(b"git.example.com", b"a_.forge.example"),
        OURS + b"username=a\nodd=1\nwwwauth[]=Basic\nwwwauth[]=Basic\n\nhost=evil.example\n",
        OURS.removesuffix(b"\n"),
    ],
)
def test_what_is_only_spelled_otherwise_is_ours(data: bytes) -> None:
    """The corpus proves something only if its neighbours are answered."""
    assert outcome(data) == FORGE.name


@pytest.mark.parametrize("operation", ["get", "erase"])
@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_needed_spoils_nothing(name: str, operation: str) -> None:
    """A server's odd challenge, or a newer git's key, neither stops an answer nor an erase."""
    assert outcome(OURS + UNREAD[name], operation) == FORGE.name
    assert outcome(UNREAD[name] + OURS, operation) == FORGE.name


@pytest.mark.parametrize(
    ("operation", "line", "is_read"),
    [
        ("get", b"password=a\npassword=b\n", True),
        ("get", b"password=\xff\n", True),
        ("get", b"password_expiry_utc=\xff\n", True),
        ("get", b"oauth_refresh_token=\xff\n", True),
        ("erase", b"oauth_refresh_token=\xff\n", True),
        ("erase", b"password=a\npassword=b\n", False),
        ("erase", b"credential=\xff\n", False),
        ("store", b"password=\xff\n", False),
        ("store", b"username=a\npassword=b\noauth_refresh_token=\xff\n", False),
    ],
)
def test_each_operation_has_needs_of_its_own(operation: str, line: bytes, *, is_read: bool) -> None:
    """Security: what is erased or stored is never half of what was sent."""
    assert (outcome(OURS + line, operation) != MALFORMED) is is_read
