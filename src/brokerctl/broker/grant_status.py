"""How each grant stands, one after the other: what `status` and `doctor` say of every subject."""

from __future__ import annotations

from brokerctl.broker.held_grants import Lead
from brokerctl.broker.revoke import REVOKED_HERE
from brokerctl.errors import DamagedError, shell_word
from brokerctl.freshness import WEEK_S
from brokerctl.model import LIVE, Profile, Value
from brokerctl.store.entry import GRANT, TOKEN
from brokerctl.store.values import Grant, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerctl.model import GrantKey
    from brokerctl.store.interface import Store

    KeyOf = Callable[[Profile, str | None], GrantKey]

NONE, READY, HELD = "no grant", "ready", "logged in"
FINE = (READY, HELD)


class GrantStatus(Value):
    """The grant of one (profile, subject), and its tokens; times are seconds since the epoch."""

    profile: Profile
    key: GrantKey
    state: str  # NONE | READY | HELD | ended: … | damaged: …
    grant: Grant | None = None
    slots: tuple[Slot, ...] = ()
    tokens: int = 0  # how many are alive
    tokens_end: float | None = None  # when the last of them ends; 0: it has no end

    @property
    def todo(self) -> str:
        """What a person can do about it; empty where there is nothing to do."""
        if self.state in FINE:
            return ""
        if self.is_damaged:
            return "run 'brokerctl store check'"
        hint = f"run 'brokerctl login {shell_word(self.profile.name)}"
        if self.key.subject is not None and self.key.subject != self.profile.subject:
            hint += f" --subject {shell_word(self.key.subject)}"
        return f"{hint}'"

    @property
    def is_damaged(self) -> bool:
        """Whether the grant does not open."""
        return self.state.startswith("damaged")

    @property
    def is_revoked(self) -> bool:
        """Whether it was ended from here: nobody has to look after it."""
        return self.grant is not None and self.grant.dead_why == REVOKED_HERE

    def needs_care(self, now: float) -> bool:
        """Return whether a request would fail, or will within a week."""
        if self.state not in FINE:
            return not self.is_revoked
        return self.ends_at is not None and self.ends_at - now < WEEK_S

    @property
    def ends_at(self) -> float | None:
        """When the login is over by the issuer's word; None where nobody knows, or it has ended."""
        is_live = self.grant is not None and self.grant.dead_why is None
        return self.grant.ends_at if self.grant is not None and is_live else None


def of_key(store: Store, profile: Profile, key: GrantKey, now: float) -> GrantStatus:
    """Return how one grant stands, whether there is anything of it or not."""
    try:
        grant, damage = store.find_grant(key), None
    except DamagedError as error:
        grant, damage = None, error.message
    slots = (entry.value for entry in store.entries_of(TOKEN, store.name_of(key)))
    return _status(profile, key, grant, damage, tuple(slot for slot in slots if slot), now)


def _status(
    profile: Profile,
    key: GrantKey,
    grant: Grant | None,
    damage: str | None,
    slots: tuple[Slot, ...],
    now: float,
) -> GrantStatus:
    current = [slot.current for slot in slots if slot.current is not None]
    alive = [
        token
        for token in current
        if token.status == LIVE and (token.expires_at is None or token.expires_at > now)
    ]
    state = NONE
    if not profile.traits.needs_person:
        state = READY
    elif damage is not None:
        state = f"damaged: {damage}"
    elif grant is not None:
        state = HELD if grant.dead_why is None else f"ended: {grant.dead_why}"
    return GrantStatus(
        profile=profile,
        key=key,
        state=state,
        grant=grant,
        slots=slots,
        tokens=len(alive),
        tokens_end=max((token.expires_at or 0 for token in alive), default=None),
    )


def of_profiles(
    store: Store,
    profiles: Mapping[str, Profile],
    key_of: KeyOf,
    now: float,
    subject: str | None = None,
) -> Iterator[GrantStatus]:
    """Yield how each profile's own grant stands, by name; of a subject only what there is.

    `key_of` returns the key that a request here and now would use.
    """
    for _, profile in sorted(profiles.items()):
        found = of_key(store, profile, key_of(profile, subject), now)
        if subject is None or found.grant or found.slots or found.is_damaged:
            yield found


def of_subjects(
    store: Store, profiles: Mapping[str, Profile], key_of: KeyOf, now: float
) -> Iterator[GrantStatus | None]:
    """Yield how the grants of all other subjects stand that a profile leads to, in no order.

    None stands for an entry that does not open: nobody can tell whose it is. Each is read when its
    turn comes and kept nowhere, so that ten thousand need no more memory than ten. Those of other
    jobs are left out: nobody here can use them.
    """
    led_to = Lead(profiles)
    own_keys = {name: key_of(profile, None) for name, profile in profiles.items()}
    own = set(map(store.name_of, own_keys.values()))
    for name in store.each_grant():
        if name in own:
            continue
        grants = list(store.entries_of(GRANT, name))
        values = (entry.value for entry in store.entries_of(TOKEN, name))
        slots = tuple(value for value in values if value is not None)
        damage = next((entry.damage for entry in grants), None)
        grant = next((entry.value for entry in grants), None)
        held = grant or next(iter(slots), None)
        if held is None:
            if damage is not None:
                yield None
            continue
        key = held.key.grant if isinstance(held, Slot) else held.key
        profile = led_to.find(key, held.profile)
        if profile is not None and key.job == own_keys[profile.name].job:
            yield _status(profile, key, grant, damage, slots, now)
