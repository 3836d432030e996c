"""Several processes do random things to many subjects: no token is ever another subject's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.keys.making import new_ring
from brokerctl.keys.ring import render_ring
from tests.program import ROOT

if TYPE_CHECKING:
    from pathlib import Path

MIXER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "subject_mixer.py")
KINDS = {"get", "own", "log_in", "revoke", "look"}


def mix(path: str, processes: int, operations: int, subjects: int) -> list[dict[str, Any]]:
    """Start the processes at once; return what each has done."""
    ring = render_ring(new_ring()).hex()
    start, gun = os.pipe()
    running = [
        subprocess.Popen(
            [sys.executable, MIXER, path, ring, str(seed), str(operations), str(subjects)],
            stdin=start,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ROOT},
        )
        for seed in range(processes)
    ]
    os.close(start)
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    os.close(gun)
    found = [process.communicate() for process in running]
    assert [
        (process.returncode, err) for process, (_, err) in zip(running, found, strict=True)
    ] == [(0, "")] * processes
    return [json.loads(out) for out, _ in found]


def judge(found: list[dict[str, Any]], operations: int) -> None:
    """All was done, and what the record says of a token it says of one subject."""
    assert sum(sum(one["done"].values()) for one in found) == operations
    assert {kind for one in found for kind in one["done"]} == KINDS
    owners: dict[str, set[str]] = {}
    for one in found:
        for fingerprint, subject in one["whose"]:
            owners.setdefault(fingerprint, set()).add(subject)
    assert len(owners) > 1
    assert not {name: whose for name, whose in owners.items() if len(whose) > 1}


def test_no_two_subjects_tokens_are_mixed(tmp_path: Path) -> None:
    """Four processes, seven subjects: they meet all the time."""
    judge(mix(str(tmp_path / "store"), 4, 80, 7), 320)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_two_of_many_subjects_tokens_are_mixed(tmp_path: Path) -> None:
    """Ten thousand operations by sixteen processes, on few subjects and on many."""
    judge(mix(str(tmp_path / "few"), 16, 313, 5), 16 * 313)
    judge(mix(str(tmp_path / "many"), 16, 313, 300), 16 * 313)
