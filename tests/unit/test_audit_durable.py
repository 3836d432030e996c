"""Records that change a grant: on the disk when the call returns, and many of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import AuditError
from brokerctl.platform.system import SYSTEM, System
from tests.audit_log import SmallLog

if TYPE_CHECKING:
    from pathlib import Path


class Syncing(System):
    """Notes what is locked and brought to the disk, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def flock(self, fd: int, how: int) -> None:  # type: ignore[override]  # static there
        """Note a lock that is taken."""
        self.calls.append("lock")
        SYSTEM.flock(fd, how)

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]  # as above
        """Note a record."""
        self.calls.append("write")
        return SYSTEM.write(fd, data)

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]  # as above
        """Note a sync, and whether the lock is free by then."""
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
            assert "lock:" not in file.read()
        self.calls.append("sync")
        SYSTEM.fdatasync(fd)


@pytest.mark.parametrize("durable", [True, False])
def test_what_changes_a_grant_is_on_the_disk(tmp_path: Path, *, durable: bool) -> None:
    """A durable record is synced after the lock is free; a hand-out's is not at all."""
    small = SmallLog(tmp_path).fill(1)
    system = Syncing()
    small.log.system = small.log.folder.system = system
    small.log.append("grant.refreshed", {"profile": "p"}, durable=durable)
    assert system.calls == ["lock", "write", *["sync"] * durable]


def endings(count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the records of as many tokens that ended."""
    return [("token.revoked", {"profile": "p", "fingerprint": f"{at:064x}"}) for at in range(count)]


@pytest.mark.parametrize(("count", "writes"), [(0, 0), (1, 1), (15, 1), (64, 1), (65, 2), (200, 4)])
def test_many_records_are_synced_at_once(tmp_path: Path, count: int, writes: int) -> None:
    """A revoke of many tokens waits for the disk once, and each of them has its line."""
    small = SmallLog(tmp_path).fill(1)
    system = Syncing()
    small.log.system = small.log.folder.system = system
    small.log.append_all(endings(count))
    assert system.calls == ["lock", "write", "sync"] * writes
    assert small.kinds() == []
    lines = [line for line in small.lines() if b'"token.revoked"' in line]
    prints = [f'"fingerprint":"{at:064x}"'.encode() for at in range(count)]
    assert all(one in line for one, line in zip(prints, lines, strict=True))


def test_many_records_that_the_disk_takes_in_part(tmp_path: Path) -> None:
    """The caller learns it before anything is settled, and the next record explains the tail."""
    small = SmallLog(tmp_path).fill(1)

    class Full(System):
        def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]  # static there
            return SYSTEM.write(fd, data[: len(data) // 2 - 9])

    small.log.system = Full()
    with pytest.raises(AuditError, match="disk full"):
        small.log.append_all(endings(8))
    small.log.system = SYSTEM
    small.log.append_all(endings(8))
    assert b"".join(small.lines()).count(b'"event":"log.repaired"') == 1
    assert all(b'"event":"token.revoked"' in line for line in small.lines()[-8:])
