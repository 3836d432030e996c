"""Which grants are held, which profile each belongs to, and which belong to none (orphans).

A grant's key holds what it was asked for with. Another scope in the profile is therefore another
grant: the earlier one serves no request any more, and would be forgotten if it were not listed.
"""

from __future__ import annotations

from brokerctl.broker.request import grant_key
from brokerctl.model import Profile
from brokerctl.store.entry import GRANT, INTENT, QUEUE, TOKEN
from brokerctl.store.values import Grant, Intent, Queue, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brokerctl.model import GrantKey
    from brokerctl.store import Entry
    from brokerctl.store.interface import Store


def keys_of(
    store: Store, profiles: Mapping[str, Profile], names: set[str] | None, subject: str | None
) -> list[tuple[Profile, GrantKey]]:
    """Return every (profile, grant key) that the store holds something for.

    A grant whose profile was edited or removed since is still found: its own key says where it
    came from, and a profile of the same name, or one made of the key, says how to reach its issuer.
    A grant that several profiles share is found by any of their names. With `subject` nothing of
    another subject is opened.
    """
    found = _find_keys(store, None if subject is None else names_of(store, profiles, subject))
    if _has_nameless_intent(store):
        for profile in profiles.values():
            found.setdefault(grant_key(profile, subject), profile.name)
    chosen = []
    for key, name in found.items():
        is_named = names is None or name in names
        is_named |= any(_is_shared(profiles.get(one), key) for one in names or ())
        if is_named and (subject is None or key.subject == subject):
            chosen.append((profile_for(profiles, name, key), key))
    return chosen


def names_of(store: Store, profiles: Mapping[str, Profile], subject: str) -> list[str]:
    """Return the names of the grants that a subject may have, sorted.

    Those that a profile leads to are there even if an earlier version wrote them, which lists none.
    """
    current = {store.name_of(grant_key(profile, subject)) for profile in profiles.values()}
    return sorted(current.union(store.find_grants(subject)))


def _find_keys(store: Store, names: list[str] | None) -> dict[GrantKey, str]:
    """Return the key of each grant that has an entry, with the profile that it was made for.

    `names`: of the grants that are meant; None: all of them.
    """
    found: dict[GrantKey, str] = {}
    for kind in (GRANT, TOKEN, QUEUE, INTENT):
        for entry in store.entries(kind) if names is None else _entries_of(store, kind, names):
            held = entry.value
            if isinstance(held, Slot):
                found.setdefault(held.key.grant, held.profile)
            elif isinstance(held, (Grant, Queue, Intent)) and held.key is not None:
                found.setdefault(held.key, held.profile)
    return found


def _entries_of(store: Store, kind: int, names: list[str]) -> Iterator[Entry]:
    for name in names:
        yield from store.entries_of(kind, name)


def _has_nameless_intent(store: Store) -> bool:
    """Return whether something was killed of which its intent does not say what it was for."""
    intents = (entry.value for entry in store.entries(INTENT))
    return any(not isinstance(one, Intent) or one.key is None for one in intents)


def _is_shared(profile: Profile | None, key: GrantKey) -> bool:
    is_its = profile is not None and profile.subject in {None, key.subject}
    return profile is not None and is_its and grant_key(profile, key.subject, key.job) == key


def profile_for(profiles: Mapping[str, Profile], name: str, key: GrantKey) -> Profile:
    """Return the profile that a grant was made with, else one of the same client.

    Where there is no such profile, one is made of the grant's own key. It has no flow: how the
    client authenticates is not known without its profile.
    """
    client = (key.issuer, key.client_id)
    own = [profiles[name]] if name in profiles else []
    for profile in (*own, *profiles.values()):
        if (profile.issuer, profile.client_id) == client:
            return profile if not name else profile.replace(name=name)
    return Profile(name=name, issuer=key.issuer, flow="", client_id=key.client_id)


def find_orphaned_grants(
    store: Store, profiles: Mapping[str, Profile], subject: str | None = None
) -> Iterator[Grant]:
    """Yield the live grants that no request by a profile would use, for whatever subject or one."""
    if subject is None:
        entries = store.stream(GRANT)
    else:
        entries = _entries_of(store, GRANT, names_of(store, profiles, subject))
    led_to = Lead(profiles)
    for entry in entries:
        grant = entry.value
        is_live = isinstance(grant, Grant) and grant.dead_why is None
        if is_live and subject in {None, grant.key.subject} and not led_to.find(grant.key):
            yield grant


class Lead:
    """Which profiles lead to a grant: found by its client, however many profiles there are."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._by_client: dict[tuple[str, str], list[Profile]] = {}
        for _, profile in sorted(profiles.items()):
            client = (profile.issuer, profile.client_id)
            self._by_client.setdefault(client, []).append(profile)

    def find(self, key: GrantKey, name: str = "") -> Profile | None:
        """Return the profile that leads to a grant, of several the one of that name if it does."""
        of_client = self._by_client.get((key.issuer, key.client_id), [])
        found = [
            profile for profile in of_client if grant_key(profile, key.subject, key.job) == key
        ]
        return next((one for one in found if one.name == name), found[0] if found else None)
