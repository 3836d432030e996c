"""Makes, changes and seals key rings: first use, `rekey` and nothing else. Reading is `ring`."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from brokerctl import sodium
from brokerctl.keys.ring import ASSOCIATED_NAME, KINDS, MAGIC, SINGLE, KeyRing, render_ring


def new_ring() -> KeyRing:
    """Make a ring of fresh keys, each with id 1."""
    keys = {kind: {1: sodium.random_bytes(sodium.KEY_BYTES)} for kind in KINDS}
    return KeyRing(dict.fromkeys(KINDS, 1), keys)


def new_keys(ring: KeyRing) -> KeyRing:
    """Return the ring with new seal and log keys; the old ones stay for reading."""
    return with_new(ring, "seal", "log")


def with_new(ring: KeyRing, *kinds: str) -> KeyRing:
    """Return a ring whose current keys of these kinds are new; the old ones stay."""
    current, keys = ring.parts()
    for kind in kinds:
        if kind in SINGLE:
            raise ValueError(f"the {kind} key never changes")
        key_id = max(keys[kind]) + 1
        keys[kind][key_id] = sodium.random_bytes(sodium.KEY_BYTES)
        current[kind] = key_id
    return ring.changed(current, keys)


def seal_ring(ring: KeyRing, wrap_id: str, wrapping_key: bytes) -> bytes:
    """Seal a ring for the file, under the wrapping key that has this id (32 hex characters)."""
    nonce = sodium.random_bytes(sodium.NONCE_BYTES)
    head = MAGIC + bytes((ring.version,)) + bytes.fromhex(wrap_id) + nonce
    return head + sodium.seal(wrapping_key, nonce, render_ring(ring), head + ASSOCIATED_NAME)


def render_key(key: bytes) -> str:
    """Render a key as 43 characters, without padding."""
    return urlsafe_b64encode(key).decode().rstrip("=")


def new_key_text() -> str:
    """Make a new wrapping key as text: what `brokerctl store key` prints for BROKERCTL_KEY."""
    return render_key(sodium.random_bytes(sodium.KEY_BYTES))
