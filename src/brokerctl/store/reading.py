"""Entries as files of the v1 folder: where each kind lies, and how one is read and opened.

Writing, listing and setting aside are `disk`, which no warm hand-out needs.
"""

from __future__ import annotations

from brokerctl.errors import DamagedError, StoreError
from brokerctl.platform.private_files import refused
from brokerctl.store.envelope import (
    GRANT,
    INTENT,
    KEPT,
    METADATA,
    OUTCOME,
    PLAN,
    QUEUE,
    SECRET,
    SESSION,
    TOKEN,
    NewerKeyError,
    open_entry,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System
    from brokerctl.store.envelope import SealKeys

    class StoreKeys(SealKeys, Protocol):
        """What a store needs of a key ring."""

        @property
        def name_key(self) -> bytes:
            """The key of the hashes that name entries."""

        def fingerprint(self, value: str, /) -> str:
            """Return a token's keyed fingerprint."""


# kind: (folder, what its file names end with)
PLACES = {
    GRANT: ("grants", ""),
    OUTCOME: ("grants", ".outcome"),
    QUEUE: ("grants", ".queue"),
    TOKEN: ("tokens", ""),
    INTENT: ("intents", ""),
    PLAN: ("plans", ""),
    SECRET: ("secrets", ""),
    METADATA: ("metadata", ""),
    SESSION: ("sessions", ""),
    KEPT: ("kept", ""),
}
LOCKS = "locks"


class Reader:
    """The v1 folder with the keys that open what lies in it."""

    __slots__ = ("folder", "renew", "ring", "system")

    def __init__(
        self,
        folder: Folder,
        ring: StoreKeys,
        system: System,
        renew: Callable[[], StoreKeys] | None = None,
    ) -> None:
        self.folder = folder
        self.ring = ring
        self.system = system
        self.renew = renew  # reads the ring again

    def read(self, kind: int, name: str) -> bytes | None:
        """Return an entry's payload in one open and read; None if there is none.

        DamagedError where the entry is not what was written; StoreError where the trouble is the
        system's, or the user's to mend, so that nothing is to be set aside.
        """
        top, suffix = PLACES[kind]
        try:
            data = self.folder.read(f"{top}/{name}{suffix}")
        except StoreError as error:
            from brokerctl.store.disk import is_about_the_entry  # noqa: PLC0415 - in trouble alone

            if is_about_the_entry(kind, error):
                raise DamagedError(error.message, hint=error.hint) from error
            raise
        except OSError as error:  # of the checks after the open
            raise refused(f"{self.folder.path}/{top}", error) from error
        return None if data is None else self._open(kind, name, data)

    def _open(self, kind: int, name: str, data: bytes) -> bytes:
        try:
            return open_entry(self.ring, kind, name, data)
        except NewerKeyError:
            if self.renew is None:
                raise
        # `rekey --new-keys` is at work: readers go on with the ring as it is now.
        self.ring = self.renew()
        return open_entry(self.ring, kind, name, data)
