"""How long a warm hand-out's start takes against bare Python, on this machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from brokerctl.platform.commands import environ_for

RUNS = 15
BUDGET = 1.5  # of the same environment's `python -I -c ''`


def measure(runs: int = RUNS) -> float:
    """Return the median ratio of `get` of an unknown profile to a bare interpreter's start.

    That opens configuration, keys, store and log, and hands nothing out.
    """
    script = os.path.join(os.path.dirname(sys.executable), "brokerctl")
    bare = [sys.executable, "-I", "-c", ""]
    ours = [script, "get", "no-such-profile-for-timing"]
    return round(statistics.median(_time(ours) / _time(bare) for _ in range(runs)), 2)


def _time(argv: list[str]) -> float:
    begun = time.perf_counter()
    kept = environ_for("brokerctl", os.environ)
    subprocess.run(argv, env=kept, check=False, capture_output=True)
    return time.perf_counter() - begun
