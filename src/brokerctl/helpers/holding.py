"""What is held here, told without a hand-out: the hosts with a live grant, and what is ours."""

from __future__ import annotations

import time

from brokerctl.broker import NO_PERSON, grant_key, make_order
from brokerctl.helpers import USERNAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import Profile, TokenRequest
    from brokerctl.secret import Secret
    from brokerctl.wire import House


def find_usernames(house: House, tool: str) -> dict[str, str]:
    """Return host to username, for every profile that could be served without a person.

    And for what the tool itself had us keep, where `[helpers] keep` says so.
    """
    found: dict[str, str] = {}
    for _, profile in sorted(house.plan.profiles.items()):
        if profile.hosts and _is_held(house, profile):
            for host in profile.hosts:
                found.setdefault(host, profile.username or USERNAME)
    if tool in house.plan.keep:
        from brokerctl.helpers.keeping import find_places  # noqa: PLC0415 - nothing is, by default

        for place, username in find_places(house, tool):
            found.setdefault(place, username)
    return found


def is_current(house: House, request: TokenRequest, secret: Secret | None) -> bool:
    """Say whether a secret is the token that this request would be answered with from the store."""
    held = house.store.find_token(make_order(house.plan, request).token_key, time.time(), 0)
    if held is None or secret is None:
        return False
    return house.ring.fingerprint(secret.reveal()) == held.fingerprint


def _is_held(house: House, profile: Profile) -> bool:
    if profile.flow in NO_PERSON:
        return True
    grant = house.store.find_grant(grant_key(profile))
    return grant is not None and grant.dead_why is None
