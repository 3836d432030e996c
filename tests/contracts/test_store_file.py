"""The file store keeps the contract of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.store_contract import StoreContract
from tests.store_room import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.store.file import FileStore


class TestFileStore(StoreContract):
    """FileStore, in a folder of its own."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        """Return an empty store."""
        return open_store(str(tmp_path / "store"))
