"""What an issuer does to a grant when an access token of it is revoked: learnt once, and obeyed.

RFC 7009, section 2.1 lets an issuer end the whole grant with any token of it, and some do. What was
learnt lies sealed beside the issuer's metadata. Before a revocation is sent that may end a grant,
the grant's generation is noted: so that it is known even where the grant is found dead much later.
"""

from __future__ import annotations

import time

from brokerctl import jsonlite
from brokerctl.errors import BrokerError
from brokerctl.freshness import timestamp
from brokerctl.model import Value
from brokerctl.store.entry import METADATA, grant_name, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.model import Grant, GrantKey, Profile, Queued
    from brokerctl.secret import Secret
    from brokerctl.store.interface import Store, StoreKeys

ENDS, KEEPS = "ends", "keeps"
FROM_NOW_ON = (
    "From now on no access token of this issuer's grants is revoked, which is what"
    ' revoke_at_exit = "none" says in a profile'
)
_VERSION = 1
_LOOK_S = 3.0  # for a look before a revocation, which must not be late for it


class Learnt(Value):
    """What one issuer was seen to do, and what the profile said then of `revoke_at_exit`."""

    word: str  # ends | keeps
    at: float
    said: str | None = None


def find_habit(store: Store, ring: StoreKeys, profile: Profile) -> str | None:
    """Return what a revoked access token does to its grant: ends, keeps, or None, unknown.

    A profile that says `access` although the issuer was known to end grants has the last word; one
    that said so before it was known has not, for then nobody had been told.
    """
    if profile.revoke_at_exit == "none":
        return ENDS
    learnt = find_learnt(store, ring, profile.issuer)
    if learnt is not None and learnt.word == ENDS:
        return KEEPS if profile.revoke_at_exit not in {None, learnt.said} else ENDS
    if profile.revoke_at_exit == "access" or learnt is not None:
        return KEEPS
    return None


def find_learnt(store: Store, ring: StoreKeys, issuer: str) -> Learnt | None:
    """Return what was learnt of an issuer, if anything was."""
    found = _find(store, plain_name(ring.name_key, "habit", issuer))
    try:
        return Learnt(word=found["word"], at=found["at"], said=found["said"])
    except KeyError:
        return None


def learn(store: Store, ring: StoreKeys, profile: Profile, issuer: str, word: str) -> None:
    """Keep what an issuer was seen to do."""
    name = plain_name(ring.name_key, "habit", issuer)
    body = {"word": word, "at": time.time(), "said": profile.revoke_at_exit}
    _put(store, name, body | {"issuer": issuer})


def note(store: Store, ring: StoreKeys, key: GrantKey, generation: int) -> bool:
    """Note that an access token is about to be revoked, its grant having this generation.

    Returns whether it is the first of this generation.
    """
    if find_noted(store, ring, key, generation) is not None:
        return False
    body = {"generation": generation, "at": time.time(), "issuer": key.issuer}
    _put(store, _note_name(ring, key), body)
    return True


def forget(store: Store, ring: StoreKeys, key: GrantKey) -> None:
    """Take the note back: the issuer was asked for nothing, or revoked nothing."""
    store.drop_sealed(METADATA, _note_name(ring, key))


def find_noted(store: Store, ring: StoreKeys, key: GrantKey, generation: int) -> float | None:
    """Return when an access token was revoked since the grant has this generation, if one was."""
    found = _find(store, _note_name(ring, key))
    at = found.get("at")
    return at if found.get("generation") == generation and isinstance(at, float) else None


def explain_end(
    store: Store, ring: StoreKeys, profile: Profile, key: GrantKey, generation: int
) -> str:
    """Return what the reason of a grant's end has to add, if we may have caused it; and learn."""
    at = find_noted(store, ring, key, generation)
    if at is None:
        return ""
    learn(store, ring, profile, key.issuer, ENDS)
    return (
        f"; at {timestamp(at)} it was asked to revoke an access token of it,"
        " with which some issuers end the grant"
    )


def _note_name(ring: StoreKeys, key: GrantKey) -> str:
    return plain_name(ring.name_key, "revocation", grant_name(ring.name_key, key))


def _find(store: Store, name: str) -> dict[str, Any]:
    sealed = store.find_sealed(METADATA, name)
    try:
        found = {} if sealed is None else jsonlite.loads(sealed)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("v") == _VERSION else {}


def _put(store: Store, name: str, body: dict[str, Any]) -> None:
    store.put_sealed(METADATA, name, jsonlite.dumps(body | {"v": _VERSION}).encode())


class Watch:
    """Looks at a grant before and after an access token of it is revoked.

    Only a refresh token that was called active and no longer is proves anything: many issuers call
    every refresh token inactive, or answer nothing.
    """

    __slots__ = ("_ask", "_grant", "_item", "_was_active", "_was_alive", "is_noted")

    def __init__(
        self, issuer: IssuerClient, profile: Profile, key: GrantKey, grant: Grant, *, is_noted: bool
    ) -> None:
        """`is_noted`: this attempt has noted the grant's generation, and none before it."""
        self.is_noted = is_noted
        self._grant = grant
        self._item: Queued | None = None
        self._was_alive = self._was_active = False

        def ask(value: Secret, hint: str, deadline: float) -> bool | None:
            try:
                return issuer.introspect(profile, value, hint, deadline, key)
            except BrokerError:
                return None  # not known, as where there is no introspection

        self._ask = ask

    def begin(self, item: Queued, deadline: float) -> None:
        """Look before the first revocation; a silent issuer gets a moment, and no more."""
        if self._item is not None:
            return
        self._item = item
        soon = min(deadline, time.monotonic() + _LOOK_S)
        self._was_alive = self._is_alive(soon) is True
        if self._was_alive:
            self._was_active = self._ask(item.value, "access_token", soon) is True

    def find(self, deadline: float) -> str | None:
        """Return what the issuer was seen to do; None where nothing proves it."""
        if not self._was_alive or self._item is None:
            return None
        is_alive = self._is_alive(deadline)
        if is_alive is False:
            return ENDS
        is_active = self._ask(self._item.value, "access_token", deadline) if is_alive else None
        # A token that lives on, as signed ones do, proves nothing of one that is really revoked.
        return KEEPS if self._was_active and is_active is False else None

    def _is_alive(self, deadline: float) -> bool | None:
        value = self._grant.refresh_token
        return None if value is None else self._ask(value, "refresh_token", deadline)
