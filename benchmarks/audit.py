"""The log against its budget: an append does not slow down as it grows, and verify is fast."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from common import show, workplace

from brokerctl.audit.append import ROTATE_BYTES, Log
from brokerctl.audit.record import START_OF_CHAIN, Head, close_line, render_body
from brokerctl.audit.verify import verify
from brokerctl.keys.making import new_ring
from brokerctl.platform.private_files import Folder, open_folder

APPEND_BUDGET = 1.1  # a log of a million lines to one of ten
VERIFY_BUDGET = 200_000  # lines a second
RING = new_ring()
FIELDS = {
    "profile": "gitlab",
    "issuer": "https://gitlab.example.com",
    "subject": None,
    "scopes": ["api", "read_repository"],
    "resource": [],
    "fingerprint": "0123456789abcdef0123456789abcdef",
    "expires_at": 1795476591.0,
    "requester": {"uid": 1000, "pid": 4711, "exe": "/usr/bin/git", "tool": "git"},
    "decision": {"effect": "allow", "rule": "the profile's own limits"},
    "outcome": "cache",
}


def make_log(path: Path, lines: int) -> Folder:
    """Write a right log of so many lines, faster than one append after the other."""
    folder = open_folder(str(path))
    if folder is None:
        raise SystemExit(f"no folder {path}")
    head = START_OF_CHAIN
    while head.seq < lines:
        head = _make_segment(path, head, lines)
    return folder


def _make_segment(path: Path, head: Head, lines: int) -> Head:
    body = render_body("token.handed_out", FIELDS, 1795476591.25)
    first, size = head.seq + 1, 0
    name = path / "log"
    name.touch(0o600)
    with name.open("wb") as file:
        while head.seq < lines and size <= ROTATE_BYTES:
            line, head = close_line(RING, head, body)
            size += file.write(line)
    if head.seq < lines:
        name.rename(path / f"log-{first}")
    return head


def time_appends(small: Log, large: Log, count: int) -> list[float]:
    """Return ratios of a batch of appends to the large log and to the small one, in turn."""
    return [_time_batch(large) / _time_batch(small) for _ in range(count)]


def _time_batch(log: Log) -> float:
    begun = time.perf_counter()
    for _ in range(20):
        log.append("token.handed_out", FIELDS)
    return time.perf_counter() - begun


def time_verify(folder: Folder, *, parse: bool, runs: int) -> float:
    """Return the median number of lines in a second of the processor; the log must be whole."""
    rates = []
    for _ in range(runs):
        begun = time.process_time()
        report = verify(folder, RING, parse=parse)
        rates.append(report.records / (time.process_time() - begun))
        if not report.is_whole:
            raise SystemExit("the benchmark's own log does not verify")
    return statistics.median(rates)


def main() -> int:
    """Print the ratios; 1 if one is over its budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    with workplace() as place:
        small = make_log(Path(place) / "small", 10)
        large = make_log(Path(place) / "large", options.lines)
        ratios = time_appends(Log(small, RING), Log(large, RING), options.runs)
        name = f"append: {options.lines:,} lines to 10"
        is_met = show(name, ratios, "x", APPEND_BUDGET)
        rate = time_verify(large, parse=False, runs=3)
        verdict = "met" if rate >= VERIFY_BUDGET else "MISSED"
        print(f"verify: {rate:,.0f} lines/s  budget {VERIFY_BUDGET:,}  {verdict}")
        print(f"verify --parse: {time_verify(large, parse=True, runs=1):,.0f} lines/s")
    return 0 if is_met and rate >= VERIFY_BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
