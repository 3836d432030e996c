"""Functions of the C library, called without a module that costs the warm road.

The one module that uses cffi's private `_cffi_backend`, which PyNaCl has loaded already; `ctypes`
is the public fallback, and a contract test holds both to the same answers. Every argument is a
number or bytes, of which the address is passed; a bytearray is written to in place.
"""

from __future__ import annotations

import errno
import sys

try:
    import _cffi_backend as _cffi
except ImportError:  # pragma: no cover - another layout of cffi: the public path, below
    _cffi = None  # type: ignore[assignment]  # the fallback's mark
_LONG_ANSWER = "syscall"
_RLIMIT_CORE = 4  # on Linux and on macOS
_PR_SET_DUMPABLE = 4
_LONG_BYTES = 8 if sys.maxsize > 2**32 else 4


def call(name: str, *arguments: int | bytes | bytearray) -> tuple[int, int]:
    """Call a C function; return its result and errno.

    `syscall` answers a long and every other function that is used here an int. A function that
    this system does not have ends as -1 and ENOSYS.
    """
    if _cffi is None:  # pragma: no cover - as above
        return call_public(name, *arguments)
    long = _cffi.new_primitive_type("long")
    answer = long if name == _LONG_ANSWER else _cffi.new_primitive_type("int")
    chars = _cffi.new_pointer_type(_cffi.new_primitive_type("char"))
    array = _cffi.new_array_type(chars, None)
    kind = _cffi.new_function_type((long,) * len(arguments), answer, False)  # type: ignore[call-arg]  # noqa: FBT003 - the stub is wrong
    try:
        function = _cffi.load_library(None, 0).load_function(kind, name)  # type: ignore[no-untyped-call]  # as above
    except (AttributeError, OSError):
        return -1, errno.ENOSYS
    held = [_as_buffer(argument) for argument in arguments]
    views = [value if isinstance(value, int) else _cffi.from_buffer(array, value) for value in held]
    numbers = [view if isinstance(view, int) else int(_cffi.cast(long, view)) for view in views]
    _cffi.set_errno(0)
    return function(*numbers), _cffi.get_errno()


def call_public(name: str, *arguments: int | bytes | bytearray) -> tuple[int, int]:
    """Do the same through `ctypes`: the public path, where cffi's module can't be used."""
    import ctypes  # noqa: PLC0415 - it costs the warm road, where cffi's way is there

    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return -1, errno.ENOSYS
    function.restype = ctypes.c_long if name == _LONG_ANSWER else ctypes.c_int
    held = [_as_buffer(argument) for argument in arguments]
    views = [
        value if isinstance(value, int) else (ctypes.c_char * len(value)).from_buffer(value)
        for value in held
    ]
    numbers = [
        ctypes.c_long(view if isinstance(view, int) else ctypes.addressof(view)) for view in views
    ]
    ctypes.set_errno(0)
    return function(*numbers), ctypes.get_errno()


def _as_buffer(argument: int | bytes | bytearray) -> int | bytearray:
    """Give text a terminating zero and memory that stays where it is."""
    return bytearray(argument + b"\0") if isinstance(argument, bytes) else argument


def harden() -> bool:
    """Switch core dumps and tracing by the same user off for this process; False if that fails.

    `execve` undoes the second for a child (standards, M6): nothing that is started is shielded.
    Where the switch works no core is written whatever the limit, which a child would inherit.
    """
    if call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)[0] == 0:
        return True
    limits = bytearray(2 * _LONG_BYTES)  # struct rlimit: the soft limit, then the hard one
    if call("getrlimit", _RLIMIT_CORE, limits)[0] == 0:
        limits[:_LONG_BYTES] = bytes(_LONG_BYTES)
        call("setrlimit", _RLIMIT_CORE, limits)
    return False
