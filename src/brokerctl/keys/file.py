"""The visible fallback: the wrapping key in a 0600 file beside the ring.

It protects against a copied backup of the ring alone and against other users, and against nobody
who can read this user's files; `doctor` and the notice at first use say so.
"""

from __future__ import annotations

from brokerctl.errors import KeyLockedError, StoreError
from brokerctl.keys.ring import parse_key
from brokerctl.platform.system import parent_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.keys import Means
    from brokerctl.keys.pin import Pin

_MAX_BYTES = 64


class FileKeeper:
    """Keeps the key in `keys/key-<id>`, a private file like all others here."""

    def __init__(self, means: Means) -> None:
        self._folder = means.folder

    def make(self, wrap_id: str) -> tuple[bytes, str]:
        """Write a new key and read it back."""
        from brokerctl.keys.making import new_key_text  # noqa: PLC0415 - at first use alone

        self._folder.write(_name(wrap_id), new_key_text().encode() + b"\n")
        return self._read(wrap_id), "{}"

    def fetch(self, pin: Pin) -> bytes:
        """Read the key."""
        return self._read(pin.wrap_id)

    def drop(self, pin: Pin) -> None:
        """Remove the file."""
        self._folder.unlink(_name(pin.wrap_id))

    def _read(self, wrap_id: str) -> bytes:
        path = f"{self._folder.path}/{_name(wrap_id)}"
        data = self._folder.read(_name(wrap_id), _MAX_BYTES)
        if data is None:
            raise KeyLockedError(f"{path} is missing", hint=self._way_back())
        try:
            return parse_key(data.decode("ascii").removesuffix("\n"))
        except ValueError:  # UnicodeDecodeError is one
            raise StoreError(f"{path} is not a key", hint=self._way_back()) from None

    def _way_back(self) -> str:
        home = parent_of(self._folder.path)
        return f"put it back from a backup, or move {home} away to begin anew"


def _name(wrap_id: str) -> str:
    return f"key-{wrap_id}"
