"""What the benchmarks share: a clean installation, an issuer on loopback, paired timing.

Figures are ratios to U, the time of `python -I -c ''` of the same clean environment in the same
run. The two commands are started in turn, so that a machine whose speed drifts slows both.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent


def clean_install(folder: Path, *, with_launcher: bool = False) -> Path:
    """Install the built wheel into a clean environment, byte code compiled; return its bin.

    Without pip: setuptools, which comes with it, brings a `.pth` file, and U would be longer by it.
    With the launcher it is the wheel of this machine's platform, in an environment of its own.
    """
    folder = folder / ("launcher" if with_launcher else "script")
    folder.mkdir()
    venv = folder / "venv"
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    env |= {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))}
    run = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    subprocess.run([*run, str(ROOT)], check=True, env=env, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, env=env)
    wheel = next(folder.glob("*.whl"))
    if with_launcher:
        make = [sys.executable, str(ROOT / "scripts/platform_wheels.py"), str(wheel)]
        made = subprocess.run(
            [*make, "--arch", platform.machine()], check=True, capture_output=True, text=True
        )
        wheel = Path(made.stdout.strip())
    into = ["--python", str(venv / "bin/python"), "install", "-q", "--no-compile"]
    pip = [sys.executable, "-m", "pip", *into]
    subprocess.run(
        [*pip, "--require-hashes", "-r", str(ROOT / "requirements/run.txt")], check=True, env=env
    )
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, env=env)
    compileall = [str(venv / "bin/python"), "-m", "compileall", "-q", str(venv / "lib")]
    subprocess.run(compileall, check=False, env=env, stdout=subprocess.DEVNULL)
    return venv / "bin"


class Issuer:
    """The demo issuer in a process of its own."""

    def __init__(self, bin_folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [str(bin_folder / "python"), "-I", "-m", "brokerctl.demo.serve", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = json.loads(self.process.stdout.readline() if self.process.stdout else "")
        self.url = self.ready["issuer"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)


def child_env(home: Path) -> dict[str, str]:
    """Return the explicit environment of every timed child."""
    return {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "BROKERCTL_KEEPER": "file",
    }


def time_once(argv: list[str], env: dict[str, str], stdin: str = "/dev/null") -> float:
    """Run a command and return its wall time in seconds; it must succeed."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
    ]
    begun = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - begun
    if status != 0:
        raise SystemExit(f"{argv} ended with {os.waitstatus_to_exitcode(status)}")
    return took


def paired(
    first: list[str],
    second: list[str],
    env: dict[str, str],
    runs: int,
    other: dict[str, str] | None = None,
    stdin: str = "/dev/null",
) -> list[float]:
    """Return the ratios first/second, run in turn; `other`: the second one's environment."""
    other = env if other is None else other
    time_once(first, env, stdin), time_once(second, other)
    return [time_once(first, env, stdin) / time_once(second, other) for _ in range(runs)]


def show(name: str, ratios: list[float], unit: str, budget: float | None = None) -> bool:
    """Print a ratio's median and quartiles against its budget; return whether it is met."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    is_met = budget is None or middle <= budget
    verdict = "" if budget is None else f"  budget {budget:.2f}  {'met' if is_met else 'MISSED'}"
    print(f"{name:<48} {middle:5.2f} {unit}  ({low:.2f} to {high:.2f}){verdict}", flush=True)
    return is_met


def workplace() -> tempfile.TemporaryDirectory[str]:
    """Make a private temporary folder."""
    return tempfile.TemporaryDirectory(prefix="brokerctl-bench-")
