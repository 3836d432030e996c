"""A corpus of odd requests: none of them is read as one for a host of ours."""

from __future__ import annotations

import pytest

from brokerctl.config.hosts import find_profiles
from brokerctl.errors import UsageError
from brokerctl.helpers import Answer, MalformedError, Wanted
from brokerctl.helpers.git import Git
from tests.contracts.helper_contract import PROFILE
from tests.unit.git_requests import HOSTS, MALFORMED, NOBODY, NOTHING, OURS, Case, all_cases

CASES = all_cases()
FORGE = PROFILE.replace(hosts=HOSTS)


def outcome(data: bytes, operation: str = "get") -> str:
    """Return what a request is read as, and whose it is."""
    try:
        wanted = Git().read([operation], data, {})
    except MalformedError as error:
        # It shows nothing of what was sent.
        return MALFORMED if "example" not in str(error) else str(error)
    if isinstance(wanted, Answer):
        assert wanted == Answer()
        return NOTHING
    assert isinstance(wanted, Wanted)
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
        OURS + b"username=a\nodd=1\nwwwauth[]=Basic\nwwwauth[]=Basic\n\nhost=evil.example\n",
        OURS.removesuffix(b"\n"),
    ],
)
def test_what_is_only_spelled_otherwise_is_ours(data: bytes) -> None:
    """The corpus proves something only if its neighbours are answered."""
    assert outcome(data) == FORGE.name
