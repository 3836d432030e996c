"""No core dump and no reading of our memory by other processes of the same user.

`execve` undoes the second for a child (standards, M6): it shields this process and nothing that
it starts.
"""

from __future__ import annotations

import sys

from brokerctl.keys.native import call

_RLIMIT_CORE = 4  # on Linux and on macOS
_PR_SET_DUMPABLE = 4
_LONG_BYTES = 8 if sys.maxsize > 2**32 else 4


def harden() -> bool:
    """Switch core dumps and tracing off for this process; False where the system can't.

    Where the switch works no core is written whatever the limit, which a child would inherit.
    """
    if call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)[0] == 0:
        return True
    limits = bytearray(2 * _LONG_BYTES)  # struct rlimit: the soft limit, then the hard one
    if call("getrlimit", _RLIMIT_CORE, limits)[0] == 0:
        limits[:_LONG_BYTES] = bytes(_LONG_BYTES)
        call("setrlimit", _RLIMIT_CORE, limits)
    return False
