"""What the tests of the store share: a ring, keys, grants and tokens to put into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerctl.keys.making import new_ring
from brokerctl.keys.ring import KeyRing
from brokerctl.model import GrantKey, Token, TokenKey
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import SYSTEM
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from brokerctl.store.file import FileStore
from brokerctl.store.values import Change, Grant, Intent, Queued

if TYPE_CHECKING:
    from brokerctl.platform.system import System
    from brokerctl.store.interface import Store

NOW = 1_800_000_000.0
RING = new_ring()
GRANT_KEY = GrantKey(issuer="https://issuer.example", client_id="app", scopes=("a", "b"))
TOKEN_KEY = TokenKey(grant=GRANT_KEY, scopes=("a",))


def open_store(path: str, system: System = SYSTEM, ring: KeyRing = RING) -> FileStore:
    """Open a store at its clock of NOW; the folder is made if missing."""
    folder = open_folder(path)
    assert folder is not None
    folder.system = system  # the folder's own opening is not the store's
    return FileStore(folder, ring, clock=lambda: NOW)


def soon() -> float:
    """Return a deadline that no test should reach."""
    return work_time() + 20


def make_grant(refresh_token: str = "r1", key: GrantKey = GRANT_KEY) -> Grant:
    """Make a live grant of generation 1."""
    return Grant(
        key=key,
        profile="p",
        flow="code",
        generation=1,
        obtained_at=NOW,
        refresh_token=Secret(refresh_token),
    )


def make_token(value: str = "t1", lifetime_s: float | None = 3600, issued_at: float = NOW) -> Token:
    """Make a live token whose fingerprint is that of its value."""
    return Token(
        value=Secret(value),
        fingerprint=RING.fingerprint(value),
        token_type="Bearer",
        scopes=("a",),
        issued_at=issued_at,
        expires_at=None if lifetime_s is None else issued_at + lifetime_s,
    )


def make_intent(kind: str = "refresh", generation: int = 1) -> Intent:
    """Make an intent to redeem a generation."""
    return Intent(kind=kind, generation=generation, at=NOW)


def make_queued(value: str = "t1", expires_at: float | None = None) -> Queued:
    """Make an item of the revoke queue."""
    return Queued(
        value=Secret(value),
        fingerprint=RING.fingerprint(value),
        token_type_hint="access_token",
        since=NOW,
        expires_at=expires_at,
    )


def make_change(refresh_token: str = "r1", token: Token | None = None) -> Change:
    """Make the change of a login or refresh."""
    return Change(
        grant=make_grant(refresh_token),
        token_key=TOKEN_KEY,
        token=token or make_token(),
        profile="p",
    )


def log_in(store: Store, refresh_token: str = "r1", token: str = "t1") -> None:
    """Store a grant and a token."""
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        locked.commit(make_change(refresh_token, make_token(token)))


def without(ring: KeyRing, kind: str, key_ids: tuple[int, ...]) -> KeyRing:
    """Return a ring without these older keys: whatever is sealed by them does not open."""
    current, keys = ring.parts()
    left = {key_id: key for key_id, key in keys[kind].items() if key_id not in key_ids}
    return KeyRing(current, {**keys, kind: left})
