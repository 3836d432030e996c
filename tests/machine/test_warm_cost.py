"""What a warm hand-out costs, counted and not timed: a machine under load changes nothing of it.

The unit is a bare start of the same interpreter, `python -I -c ''`, in an environment without
`.pth` files. `benchmarks/warm.py` has the budgets of time.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.machine.hand_outs import enter_job, wait_for_refresh
from tests.machine.installation import BUILT, GET
from tests.machine.room import answers
from tests.program import require_tool

if TYPE_CHECKING:
    from tests.machine.installation import Installation
    from tests.machine.room import Machine

# Reached is 1.00 on Python 3.11. What is left is nearly all Python's own start (0.55), to unmarshal
# what is run (0.1), to make the classes (0.07) and the work itself (0.09).
pytestmark = pytest.mark.parametrize("way_in", ["script", "launcher"], indirect=True)

INSTRUCTIONS = 1.03
# Who waits for another's refresh asks twice more for the token, and for the lock: reached is 1.08,
# of which 0.01 are waits that each thread counts for itself; without what the image has apart for
# it 1.16. To a job it is 1.08, of which 0.01 is the longer configuration; 1.10 without.
WAITER, JOB = 1.09, 1.09
CALLS = 620
COLLECTED = re.compile(r"Collected : (\d+)")


def counting(argv: list[str]) -> list[str]:
    """Return what runs a program so that its instructions are counted, and said on stderr."""
    traced = [require_tool("valgrind"), "--tool=callgrind", "--trace-children=yes"]
    return [*traced, "--callgrind-out-file=/dev/null", *argv]


def count_instructions(argv: list[str], env: dict[str, str]) -> int:
    """Return how many instructions a program takes, from its last `exec` on, in user space."""
    run = counting(argv)
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=True)
    return int(COLLECTED.findall(done.stderr)[-1])


def count_calls(argv: list[str], env: dict[str, str]) -> int:
    """Return how many system calls a program takes, `sh` included."""
    summary = [require_tool("strace"), "-f", "-qq", "-c", "-U", "calls,name", *argv]
    done = subprocess.run(summary, env=env, capture_output=True, text=True, check=True)
    return int(re.findall(r"(\d+) total", done.stderr)[0])


@pytest.mark.slow(reason="valgrind takes forty times as long")
def test_instructions(machine: Machine, image: Installation) -> None:
    """A decided, decrypted and recorded hand-out is little more than Python's own start."""
    env = machine.program.environment()
    answers(machine(*GET))
    bare = count_instructions([image.python, "-I", "-c", ""], env)
    warm = count_instructions([image.program, *GET], env)
    assert warm <= INSTRUCTIONS * bare, warm / bare


@pytest.mark.slow(reason="valgrind takes forty times as long")
def test_instructions_of_who_waits(machine: Machine, image: Installation) -> None:
    """Of a herd all but one are such: each is little more than a warm hand-out."""
    bare = count_instructions([image.python, "-I", "-c", ""], machine.program.environment())
    said = wait_for_refresh(machine, counting([image.program, *GET]))
    waiter = int(COLLECTED.findall(said)[-1])
    assert waiter <= WAITER * bare, waiter / bare


@pytest.mark.slow(reason="valgrind takes forty times as long")
def test_instructions_of_a_job(machine: Machine, image: Installation) -> None:
    """Who it is says the environment; what reads it is in a part that no other start reads."""
    env = enter_job(machine, "github")
    bare = count_instructions([image.python, "-I", "-c", ""], env)
    job = count_instructions([image.program, "get", "job"], env)
    assert job <= JOB * bare, job / bare


@pytest.mark.slow(reason=BUILT)
def test_system_calls(machine: Machine, image: Installation) -> None:
    """From the first line of the script on, those of `sh` included, or of the launcher."""
    answers(machine(*GET))
    calls = count_calls([image.program, *GET], machine.program.environment())
    assert calls <= CALLS, calls
