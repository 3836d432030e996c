"""The record: one line for each decision, hand-out and change of a grant, chained by keyed hashes.

`append` is on the warm road and writes; `verify` judges the chain, `query` finds records, `repair`
goes on after damage. The chain is that of contract 10; the threats that it answers are in
SECURITY.md. Files: `log.lock` (never removed), `log`, and `log-<first seq>`, which are closed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class LogKeys(Protocol):
        """What the log needs of the key ring: the keys of its chain, old and current."""

        @property
        def log_id(self) -> int:
            """The id of the key that chains new records."""

        def log_key(self, key_id: int, /) -> bytes:
            """Return the log key of this id; StoreError if there is none."""
