"""Every system call of an append made to fail, and to be the last one: the chain goes on."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.audit.filter import RecordFilter
from brokerctl.audit.read import find_records
from brokerctl.errors import AuditError
from brokerctl.platform.system import SYSTEM, System
from tests.audit_log import SmallLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_UNHARMED = {"monotonic", "getpid", "geteuid", "sleep"}
_MOST_CALLS = 60


class DiedError(BaseException):
    """The process is gone."""


class Faulty(System):
    """Fails at one call; with `dies`, every later call fails too, as for a killed process."""

    def __init__(self, place: int, *, dies: bool = False) -> None:
        self.place = place
        self.dies = dies
        self.count = 0
        for name in vars(System):
            if not name.startswith("_") and name not in _UNHARMED:
                setattr(self, name, self._wrap(name, getattr(SYSTEM, name)))

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - stands for any call
            self.count += 1
            is_place = self.count == self.place
            if name == "close":
                call(*args)  # a file is closed even if that reports an error
            if is_place and name == "write":
                SYSTEM.write(args[0], args[1][: len(args[1]) // 2])
            if self.dies and self.count >= self.place:
                raise DiedError
            if is_place:
                raise OSError(errno.EIO, name)
            return None if name == "close" else call(*args, **kwargs)

        return wrapped


def scenes(tmp_path: Path) -> Iterator[tuple[str, SmallLog]]:
    """Yield logs in which an append takes each of its ways."""
    yield "first", SmallLog(tmp_path / "first")
    yield "usual", SmallLog(tmp_path / "usual").fill(2)
    torn = SmallLog(tmp_path / "torn").fill(2)
    torn.write(torn.read()[:-5])
    yield "torn", torn
    rotating = SmallLog(tmp_path / "rotating").fill(2)
    rotating.log.rotate = 1
    yield "rotating", rotating
    yield "continuing", SmallLog(tmp_path / "continuing", rotate=1).fill(1)


def injured(small: SmallLog, system: System) -> int | None:
    """Append with a faulty system; return the number, or None for a refusal or a death."""
    log, folder = small.log, small.log.folder
    log.system = folder.system = system
    try:
        return log.append("token.handed_out", {"profile": "injured"}, durable=True)
    except (AuditError, DiedError):
        return None
    finally:
        log.system = folder.system = SYSTEM


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("place", range(1, _MOST_CALLS))
def test_a_fault_at_any_call_leaves_a_chain_that_goes_on(
    tmp_path: Path, place: int, *, dies: bool
) -> None:
    """Only AuditError comes out, a number is returned only with its record, nothing is lost."""
    for name, small in scenes(tmp_path):
        before = len(find_records(small.log.folder, RecordFilter(event="token")))
        system = Faulty(place, dies=dies)
        open_files = len(os.listdir("/proc/self/fd"))
        seq = injured(small, system)
        assert dies or len(os.listdir("/proc/self/fd")) == open_files, name
        small.fill(2)
        report = small.verify(parse=True)
        assert report.is_whole, (name, report.problems)
        found = [
            entry.fields for entry in find_records(small.log.folder, RecordFilter(event="token"))
        ]
        numbers = [fields["seq"] for fields in found if fields]
        assert len(numbers) - before in {2, 3}, name
        if seq is not None:
            assert seq in numbers, name


def test_the_list_of_calls_is_long_enough(tmp_path: Path) -> None:
    """An append makes fewer calls than the test above makes fail."""
    for _, small in scenes(tmp_path):
        system = Faulty(0)
        assert injured(small, system) is not None
        assert 10 < system.count < _MOST_CALLS


class Short(System):
    """Writes less than it was asked to, as a disk does that is nearly full."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]  # needs its instance
        """Write what there is room for."""
        return SYSTEM.write(fd, data[: self.room])


@pytest.mark.parametrize("room", [0, 1, 13, 150, 250])
def test_a_short_write_is_no_record(tmp_path: Path, room: int) -> None:
    """Exit code 7, nothing cut off again, and the next record explains what lies there."""
    small = SmallLog(tmp_path).fill(2)
    before = len(small.read())
    assert len(small.lines()[0]) > 250
    assert injured(small, Short(room)) is None
    assert len(small.read()) == before + room
    small.fill(1)
    report = small.verify(parse=True)
    assert report.is_whole
    assert len(report.notices) == (1 if room else 0)


def test_a_full_disk_ends_with_exit_code_7(tmp_path: Path) -> None:
    """The real thing: the kernel takes half of a record and then none at all."""
    small = SmallLog(tmp_path).fill(3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(len(small.read()) + 100, 4096), hard))
    try:
        with pytest.raises(AuditError, match=r"disk full|too large"):
            small.fill(30)
        with pytest.raises(AuditError, match="too large") as caught:
            small.fill(1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 7
    assert small.kinds() == ["torn"]
    small.fill(1)
    assert small.verify(parse=True).is_whole
    assert len(small.verify().notices) == 1
