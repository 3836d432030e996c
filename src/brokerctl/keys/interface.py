"""What every keeper of the wrapping key does, and the cache in front of the slow ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from brokerctl.keys.pin import Pin


class Keeper(Protocol):
    """Keeps one wrapping key for each id."""

    def make(self, wrap_id: str) -> tuple[bytes, str]:
        """Make and keep a key under a new id, read back; with JSON to note in the pin."""
        ...

    def fetch(self, pin: Pin) -> bytes:
        """Return the key; KeyLockedError if it can't be had now, StoreError if it is broken."""
        ...

    def drop(self, pin: Pin) -> None:
        """Forget the key; nothing to forget is fine."""
        ...


class Cache(Protocol):
    """Stores wrapping keys for a while; raises nothing: where it can't store, it finds nothing."""

    def find(self, wrap_id: str) -> bytes | None:
        """Return the key, if it is remembered."""
        ...

    def put(self, wrap_id: str, key: bytes, timeout_s: int) -> bool:
        """Remember a key for so long; False if that can't be had here."""
        ...

    def drop(self, wrap_id: str) -> bool:
        """Forget it; False if there was nothing."""
        ...
