"""Where we are is said alike by records, lock files and sessions."""

from __future__ import annotations

import os
import subprocess
import sys

from brokerctl.platform.process import GONE, find_process, read_place
from brokerctl.platform.system import SYSTEM, System
from brokerctl.session import leftovers
from brokerctl.store.file.lock_holder import describe_here


class Blind(System):
    """A system in which /proc is not there."""

    @staticmethod
    def stat(*_: object, **__: object) -> os.stat_result:
        """Find nothing."""
        raise FileNotFoundError

    open = stat  # type: ignore[assignment]  # as above


def test_all_say_the_same() -> None:
    """One reading serves all three, so that a pid means the same in each."""
    place, me = read_place(SYSTEM), leftovers.describe("s", (), None)
    assert describe_here(SYSTEM) == place
    assert (me.boot, me.pid_space) == (place["boot"], f"pid:[{place['pid_ns']}]")
    assert me.started == str(find_process("self", SYSTEM)[1])


def test_what_can_not_be_read_is_unknown() -> None:
    """Without /proc nothing raises: None in a record, and no more than types in a lock file."""
    place = read_place(Blind())
    assert (place["boot"], place["pid_ns"]) == (None, None)
    assert describe_here(Blind()) == {**place, "boot": "", "pid_ns": 0}
    assert find_process("self", Blind()) == (b"", 0)


def test_a_process_lives_or_is_gone() -> None:
    """A zombie counts as gone, as does a number that nobody has."""
    assert find_process(str(os.getpid()), SYSTEM)[0] not in GONE
    assert find_process(str(2**22 + 1), SYSTEM) == (b"", 0)
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert find_process(str(child.pid), SYSTEM)[0] in GONE
