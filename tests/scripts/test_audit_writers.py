"""Many real processes write at once: the chain stays whole, whoever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import brokerctl
from brokerctl.audit.filter import RecordFilter
from brokerctl.audit.read import find_records
from brokerctl.audit.verify import verify
from brokerctl.platform.private_files import open_folder

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.platform.private_files import Folder

WRITER = os.path.join(os.path.dirname(__file__), "audit_writer.py")
SOURCE = os.path.dirname(os.path.dirname(brokerctl.__file__))


class Ring:
    """The log key of the writers."""

    log_id = 1

    def log_key(self, _: int, /) -> bytes:
        """Return the key."""
        return b"k" * 32


def run(folder: Folder, kinds: list[bool], count: int) -> list[int]:
    """Start a writer for each kind (does it die?), let them begin at once, return exit codes."""
    start = [sys.executable, "-I", "-S", WRITER, SOURCE, sysconfig.get_path("platlib"), folder.path]
    writers = [
        subprocess.Popen(
            [*start, str(count), "yes" if dies else "no"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for dies in kinds
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    codes = [writer.wait(60) for writer in writers]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    return codes


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return an empty folder for the log."""
    found = open_folder(str(tmp_path / "audit"))
    assert found is not None
    return found


@pytest.mark.slow("256 interpreters start")
@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.long)])
def test_every_record_of_256_writers_is_there_once(folder: Folder, count: int) -> None:
    """No record lost, none twice, and the chain in one piece."""
    writers = 256
    assert run(folder, [False] * writers, count) == [0] * writers
    report = verify(folder, Ring(), parse=True)
    assert report.is_whole
    assert report.records == report.last_seq == writers * count
    found = Counter(entry.fields["pid"] for entry in find_records(folder))
    assert set(found.values()) == {count}
    assert len(found) == writers


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.long)])
def test_writers_that_die_in_mid_write_are_named(folder: Folder, rounds: int) -> None:
    """31 of 32 leave half a line each: the chain is whole and every repair is a record."""
    for _ in range(rounds):
        codes = run(folder, [True] * 31 + [False], 10)
        assert sorted(codes) == [0] + [1] * 31
    run(folder, [False], 1)
    report = verify(folder, Ring(), parse=True)
    assert report.is_whole, report.problems
    handed = find_records(folder, RecordFilter(event="token"))
    assert sum(1 for entry in handed if entry.fields) == 10 * rounds + 1
    repaired = find_records(folder, RecordFilter(event="log.repaired"))
    assert sum(1 for entry in repaired if entry.fields) == len(report.notices) > 0
