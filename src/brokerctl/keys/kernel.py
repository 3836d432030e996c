"""The kernel's keyring as a cache of the wrapping key: always with a timeout, never the only copy.

A key lies in the user keyring `@u`, so that every session of this user finds it, with the user's
permissions view, read and search: a session that `@u` is not linked into (su, cron, systemd) does
not possess the key, and would see it without being able to read it. Where the kernel, a container
or seccomp says no, everything here answers "nothing", and the keeper behind it is asked.

A new key is made in this process's own keyring and linked into `@u` when its timeout and
permissions are set: a crash in between leaves no key without a timeout. See keyctl(2).
"""

from __future__ import annotations

import sys

from brokerctl.platform.libc import call as native_call
from brokerctl.platform.system import os
from brokerctl.sodium import KEY_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., tuple[int, int]]

# (add_key, keyctl); an architecture that is missing here does without the cache.
_NUMBERS = {
    "x86_64": (248, 250),
    "aarch64": (217, 219),
    "riscv64": (217, 219),
    "loongarch64": (217, 219),
    "ppc64le": (269, 271),
    "s390x": (278, 280),
}
_PROCESS_KEYRING, _USER_KEYRING = -2, -4
_SETPERM, _LINK, _UNLINK, _SEARCH, _READ, _SET_TIMEOUT, _INVALIDATE = 5, 8, 9, 10, 11, 15, 21
# The possessor may do everything; the user may view, read and search.
_PERMISSIONS = 0x3F0B0000
_TYPE = b"user"


class KernelCache:
    """Finds, remembers and forgets wrapping keys by their ids; never raises."""

    __slots__ = ("_call", "_numbers")

    def __init__(self, call: Call = native_call, machine: str | None = None) -> None:
        self._call = call
        is_known = sys.platform == "linux" and sys.maxsize > 2**32
        self._numbers = _NUMBERS.get(machine or os.uname().machine) if is_known else None

    def find(self, wrap_id: str) -> bytes | None:
        """Return the key, if it is there, in time and readable."""
        serial = self._serial(wrap_id)
        if serial is None:
            return None
        key = bytearray(KEY_BYTES + 1)
        if self._keyctl(_READ, serial, key, len(key)) != KEY_BYTES:
            return None
        return bytes(key[:KEY_BYTES])

    def put(self, wrap_id: str, key: bytes, timeout_s: int) -> bool:
        """Remember a key for this long, from now; False if the kernel does not take it."""
        if self._numbers is None or timeout_s <= 0:
            return False
        serial, _ = self._call(
            "syscall",
            self._numbers[0],
            _TYPE,
            _description(wrap_id),
            bytearray(key),
            len(key),
            _PROCESS_KEYRING,
        )
        if serial <= 0:
            return False
        is_kept = (
            self._keyctl(_SET_TIMEOUT, serial, min(timeout_s, 2**31 - 1)) == 0
            and self._keyctl(_SETPERM, serial, _PERMISSIONS) == 0
            and self._keyctl(_LINK, serial, _USER_KEYRING) == 0
        )
        self._keyctl(_UNLINK, serial, _PROCESS_KEYRING)
        return is_kept

    def drop(self, wrap_id: str) -> bool:
        """Forget a key, for every session at once; False if there was none."""
        serial = self._serial(wrap_id)
        if serial is None:
            return False
        self._keyctl(_INVALIDATE, serial)
        self._keyctl(_UNLINK, serial, _USER_KEYRING)  # where invalidation is not allowed
        return True

    def _serial(self, wrap_id: str) -> int | None:
        serial = self._keyctl(_SEARCH, _USER_KEYRING, _TYPE, _description(wrap_id), 0)
        return serial if serial > 0 else None

    def _keyctl(self, *arguments: int | bytes | bytearray) -> int:
        if self._numbers is None:
            return -1
        return self._call("syscall", self._numbers[1], *arguments)[0]


def _description(wrap_id: str) -> bytes:
    # The id is random for each home and each rekey: two homes never meet.
    return b"brokerctl:" + wrap_id.encode("ascii")
