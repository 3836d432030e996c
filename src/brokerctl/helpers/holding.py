"""Which hosts have a live grant here: what a tool's `list` may know, without a token."""

from __future__ import annotations

from brokerctl.broker import NO_PERSON, grant_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import Profile
    from brokerctl.wire import House

USERNAME = "oauth2"  # where a profile names none: any does where a token is the password


def find_usernames(house: House) -> dict[str, str]:
    """Return host to username, for every profile that could be served without a person."""
    found: dict[str, str] = {}
    for _, profile in sorted(house.plan.profiles.items()):
        if profile.hosts and _is_held(house, profile):
            for host in profile.hosts:
                found.setdefault(host, profile.username or USERNAME)
    return found


def _is_held(house: House, profile: Profile) -> bool:
    if profile.flow in NO_PERSON:
        return True
    grant = house.store.find_grant(grant_key(profile))
    return grant is not None and grant.dead_why is None
