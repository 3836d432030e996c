"""A herd: 256 processes on one expired token, against the same 256 warm plus one refresh."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import urllib.request
from pathlib import Path

from common import Issuer, clean_install, show, time_once, workplace
from warm import set_up

CROWD = 256


def tell(issuer: Issuer, path: str, **body: object) -> None:
    """Steer the demo issuer."""
    request = urllib.request.Request(issuer.url + path, json.dumps(body).encode(), method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def refreshes(issuer: Issuer) -> int:
    """Return how many requests the token endpoint has seen since the reset."""
    with urllib.request.urlopen(f"{issuer.url}/__counts", timeout=10) as answer:
        counts: dict[str, dict[str, int]] = json.load(answer)
    return sum(counts["grants"].values())


def crowd(argv: list[str], env: dict[str, str], count: int) -> tuple[float, set[bytes]]:
    """Start that many at once; return the seconds until the last has ended, and the answers."""
    begun = time.perf_counter()
    running = []
    for _ in range(count):
        read, write = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, write, 1)]
        running.append((os.posix_spawn(argv[0], argv, env, file_actions=actions), read))
        os.close(write)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in running]
    took = time.perf_counter() - begun
    answers = {os.read(read, 65536) for _, read in running}
    for _, read in running:
        os.close(read)
    if any(codes):
        raise SystemExit(f"{sum(map(bool, codes))} of {count} failed")
    return took, answers


def let_expire(issuer: Issuer, get: list[str], env: dict[str, str]) -> None:
    """Leave an expired token in the store, and an issuer of long-lived ones that counts from 0."""
    tell(issuer, "/__mode", access_ttl=1)
    time_once([*get, "--fresh"], env)
    tell(issuer, "/__reset")
    time.sleep(1.1)


def one_round(issuer: Issuer, get: list[str], env: dict[str, str]) -> float:
    """Return (the herd) / (the warm herd + what one refresh takes longer than a warm get)."""
    let_expire(issuer, get, env)
    cold = time_once(get, env)
    refresh = max(0.0, cold - time_once(get, env))
    warm, _ = crowd(get, env, CROWD)
    let_expire(issuer, get, env)
    herd, answers = crowd(get, env, CROWD)
    if len(answers) != 1 or refreshes(issuer) != 1:
        raise SystemExit(f"{len(answers)} answers, {refreshes(issuer)} refreshes: one each")
    again, _ = crowd(get, env, CROWD)  # a machine whose speed drifts: warm before and after
    return herd / (statistics.mean((warm, again)) + refresh)


def main() -> int:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=8)
    parser.add_argument("--bin", type=Path, help="a clean installation's bin")
    options = parser.parse_args()
    with workplace() as name:
        folder = Path(name)
        bin_folder = options.bin or clean_install(folder)
        get = [str(bin_folder / "brokerctl"), "get", "warm"]
        with Issuer(bin_folder, "--access-ttl", "3600") as issuer:
            home = folder / "home"
            home.mkdir(mode=0o700)
            env = set_up(home, issuer)
            time_once(get, env)
            ratios = [one_round(issuer, get, env) for _ in range(options.runs)]
            what = "256 on an expired token over 256 warm + refresh"
            return 0 if show(what, ratios, "", 1.15) else 1


if __name__ == "__main__":
    sys.exit(main())
