"""The record: one line for each decision, hand-out and change of a grant, chained by keyed hashes.

`append` writes and is on the warm road. `verify` judges the chain, `read` finds records, `repair`
makes a damaged log writable again. The chain is that of contract 10; SECURITY.md names the threats
that it answers. Files: `log.lock` (never removed), `log`, and closed segments `log-<first seq>`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System

    class LogKeys(Protocol):
        """What the log needs of the key ring: the keys of its chain, current and earlier ones."""

        @property
        def log_id(self) -> int:
            """The id of the key that chains new records."""

        def log_key(self, key_id: int, /) -> bytes:
            """Return the log key of this id; StoreError if there is none."""

    class LogFile(Protocol):
        """What `recover` needs of the log that is being written."""

        folder: Folder
        ring: LogKeys
        system: System
        search: int  # how many bytes back a writer looks for the end of the chain
        place: dict[str, Any] | None
        renew: Callable[[], LogKeys] | None
