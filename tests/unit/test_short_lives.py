"""A herd on tokens that live for a second: what one of it got is what the others get."""

from __future__ import annotations

import os

import pytest

from brokerctl import policy
from brokerctl.broker.request import DecidedRequest
from brokerctl.model import Profile, Requester, TokenRequest
from tests.store_room import make_token

PROFILE = Profile(name="p", issuer="https://issuer.example", flow="code", client_id="app")


@pytest.mark.parametrize(("lifetime_s", "max_ttl_s"), [(1, None), (3600, 1)])
@pytest.mark.parametrize("tool", ["get", "exec"])
def test_what_was_issued_meanwhile_serves_to_its_end(
    tool: str, lifetime_s: float, max_ttl_s: int | None
) -> None:
    """Nothing fresher can be had: else each waiter would send a request of its own."""
    profile = PROFILE.replace(max_ttl_s=max_ttl_s)
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1, tool=tool))
    order = DecidedRequest(profile, request, policy.decide(profile, request))
    token = make_token(lifetime_s=lifetime_s, issued_at=order.started + 0.1)
    assert order.serves(token, order.started + 0.3)
    assert not order.serves(token, order.started + 1.2)
    before = make_token(lifetime_s=lifetime_s, issued_at=order.started - 0.1)
    assert not order.serves(before, order.started + 0.8)
