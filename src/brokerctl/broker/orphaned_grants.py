"""Grants that no profile leads to any more: it was edited or removed, and they live on.

A grant is named by what it was asked with, so that another scope is another grant; the earlier one
is served to nobody, and would be forgotten if nobody named it.
"""

from __future__ import annotations

from brokerctl.broker import grant_key
from brokerctl.model import Grant
from brokerctl.store.entry import GRANT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.model import Profile
    from brokerctl.store.interface import Store


def find_orphaned_grants(store: Store, profiles: Mapping[str, Profile]) -> list[Grant]:
    """Return the live grants that no request by a profile would use, for whatever subject."""
    found = (entry.value for entry in store.entries(GRANT))
    return [
        grant
        for grant in found
        if isinstance(grant, Grant) and grant.dead_why is None and not _is_led_to(grant, profiles)
    ]


def _is_led_to(grant: Grant, profiles: Mapping[str, Profile]) -> bool:
    subject = grant.key.subject
    return any(grant_key(profile, subject) == grant.key for profile in profiles.values())
