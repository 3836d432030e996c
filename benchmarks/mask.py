"""Masked output against the same bytes through `cat`, in the same run: MB/s and their ratio."""

from __future__ import annotations

import argparse
import base64
import os
import pty
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from common import Issuer, clean_install, show, workplace
from warm import set_up

from brokerctl.session.mask import forms_of
from brokerctl.session.relay import Relay
from brokerctl.session.terminal import Terminal

MEGABYTE = 1_000_000
LINE = b"2026-01-02T03:04:05Z a line of a build log, eyJ 0123456789abcdef and so on\n"
WRITER = (
    "import os,sys; b=sys.stdin.buffer.read(); n=int(sys.argv[1]); t=len(b);\n"
    "v=memoryview(b)\n"
    "for _ in range(n//t):\n  w=0\n  while w<t: w+=os.write(1,v[w:])"
)


def writer(size: int) -> tuple[list[str], bytes]:
    """Return a program that writes so many bytes of log lines, and what it reads first."""
    block = (LINE * (65536 // len(LINE) + 1))[:65536]
    return [sys.executable, "-IS", "-c", WRITER, str(size)], block


def through_pipe(size: int, forms: tuple[bytes, ...] | None) -> float:
    """Return MB/s of a child's output to a reader, through the relay or through `cat`."""
    words, block = writer(size)
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert reader.stdin is not None  # noqa: S101 - for mypy
    begun = time.perf_counter()
    if forms is None:
        between = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=reader.stdin)
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=between.stdin)
        child.communicate(block)
        assert between.stdin is not None  # noqa: S101 - as above
        between.stdin.close()
        between.wait()
    else:
        saved = os.dup(1)
        os.dup2(reader.stdin.fileno(), 1)
        relay = Relay(forms)
        source, end = os.pipe()
        pid = os.posix_spawn(
            words[0],
            words,
            dict(os.environ),
            file_actions=[(os.POSIX_SPAWN_DUP2, source, 0), *relay.actions],
        )
        os.close(source)
        relay.begin()
        os.write(end, block[:32768])
        os.write(end, block[32768:])
        os.close(end)
        os.waitpid(pid, 0)
        relay.finish()
        os.dup2(saved, 1)
        os.close(saved)
    reader.stdin.close()
    reader.wait()
    return size / (time.perf_counter() - begun) / MEGABYTE


def through_terminal(size: int, forms: tuple[bytes, ...]) -> float:
    """Return MB/s of a child on an inner terminal, relayed to a terminal that is read."""
    ours, outer = pty.openpty()
    drained = threading.Thread(target=_drain, args=(ours,), daemon=True)
    drained.start()
    saved = os.dup(1)
    os.dup2(outer, 1)
    words, block = writer(size)
    terminal = Terminal(1, has_input=False)
    relay = Relay(forms, terminal)
    source, end = os.pipe()
    begun = time.perf_counter()
    pid = os.posix_spawn(
        words[0],
        words,
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, source, 0), *relay.actions],
    )
    os.close(source)
    terminal.begin()
    relay.begin()
    os.write(end, block[:32768])
    os.write(end, block[32768:])
    os.close(end)
    os.waitpid(pid, 0)
    relay.finish()
    took = time.perf_counter() - begun
    terminal.close()
    os.dup2(saved, 1)
    os.close(saved)
    os.close(outer)
    return size / took / MEGABYTE


def on_a_terminal(argv: list[str], env: dict[str, str]) -> float:
    """Return the seconds that a program takes to the end of what it writes to a terminal."""
    ours, outer = pty.openpty()
    begun = time.perf_counter()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, outer, 1),
        (os.POSIX_SPAWN_CLOSE, outer),
    ]
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    os.close(outer)
    _drain(ours)
    os.close(ours)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise SystemExit(f"{argv} failed")
    return time.perf_counter() - begun


def whole_program(bin_folder: Path | None, size: int, runs: int) -> list[float]:
    """Return ratios of `exec --no-mask` to `exec --mask`, on a terminal that somebody reads."""
    with workplace() as name:
        folder = Path(name)
        bin_folder = bin_folder or clean_install(folder)
        with Issuer(bin_folder, "--access-ttl", "3600") as issuer:
            home = folder / "home"
            home.mkdir(mode=0o700)
            env = set_up(home, issuer)
            words, block = writer(size)
            script = folder / "writer.py"
            script.write_text(words[3].replace("b=sys.stdin.buffer.read()", f"b={block!r}"))
            start = [str(bin_folder / "brokerctl"), "exec", "--keep", "-p", "warm"]
            child = ["--", str(bin_folder / "python"), "-IS", str(script), str(size)]
            return [
                on_a_terminal([*start, "--no-mask", *child], env)
                / on_a_terminal([*start, "--mask", *child], env)
                for _ in range(runs)
            ]


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        return


def main() -> int:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=5)
    parser.add_argument("--bin", type=Path, help="a clean installation's bin")
    parser.add_argument("--megabytes", type=int, default=200)
    options = parser.parse_args()
    size = options.megabytes * MEGABYTE
    met = True
    for count, budget in ((1, 300), (4, 100)):
        tokens = [base64.urlsafe_b64encode(os.urandom(600)).decode() for _ in range(count)]
        forms = tuple({form for token in tokens for form in forms_of(token)})
        rates = [(through_pipe(size, forms), through_pipe(size, None)) for _ in range(options.runs)]
        rate = statistics.median(rate for rate, _ in rates)
        ratio = statistics.median(masked / plain for masked, plain in rates)
        met &= rate >= budget
        print(f"pipe, {count} secret(s): {rate:.0f} MB/s, {ratio:.2f} of cat, budget {budget}")
    small, tries = size // 5, range(options.runs)
    forms = forms_of(base64.urlsafe_b64encode(os.urandom(600)).decode())
    nothing = (b"\0" * 9,)
    rates = [(through_terminal(small, forms), through_terminal(small, nothing)) for _ in tries]
    ratio = statistics.median(masked / plain for masked, plain in rates)
    met &= ratio >= 0.8  # noqa: PLR2004 - the budget
    print(f"terminal: {ratio:.2f} of the same relay with nothing to mask, budget 0.8")
    ratios = [1 / ratio for ratio in whole_program(options.bin, small, 15)]
    met &= show("terminal: seconds of exec --mask over --no-mask", ratios, "", 1.25)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
