"""The keeper for CI: BROKERCTL_KEY or BROKERCTL_KEY_FILE is the wrapping key itself."""

from __future__ import annotations

from brokerctl.errors import KeyLockedError, StoreError
from brokerctl.keys.given import find_given
from brokerctl.keys.ring import parse_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.keys import Means
    from brokerctl.keys.pin import Pin

VARIABLE = "BROKERCTL_KEY"


class Env:
    """Reads the key from the environment and stores nothing."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def make(self, wrap_id: str) -> tuple[bytes, str]:
        """Take the given key as the wrapping key; there is nothing to note."""
        del wrap_id
        return self._key(), "{}"

    def fetch(self, pin: Pin) -> bytes:
        """Return the given key."""
        del pin
        return self._key()

    def drop(self, pin: Pin) -> None:
        """Do nothing: the variable is its owner's to unset."""

    def _key(self) -> bytes:
        given = find_given(VARIABLE, self._means.environ, self._means.system)
        if given is None:
            raise KeyLockedError(
                f"the key of this store is kept in {VARIABLE}, which is not set",
                hint=f"set {VARIABLE} or {VARIABLE}_FILE",
            )
        try:
            return parse_key(given.reveal())
        except ValueError as error:
            raise StoreError(
                f"{VARIABLE} is {error}", hint="run 'brokerctl store key' for a new one"
            ) from None
