"""The same calls through `ctypes`: the public path, where cffi's compiled module can't be used."""

from __future__ import annotations

import ctypes
import errno

from brokerctl.platform.libc import LONG_ANSWER, as_buffer


def call_public(name: str, *arguments: int | bytes | bytearray) -> tuple[int, int]:
    """Do the same through `ctypes`."""
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return -1, errno.ENOSYS
    function.restype = ctypes.c_long if name == LONG_ANSWER else ctypes.c_int
    held = [as_buffer(argument) for argument in arguments]
    views = [
        value if isinstance(value, int) else (ctypes.c_char * len(value)).from_buffer(value)
        for value in held
    ]
    numbers = [
        ctypes.c_long(view if isinstance(view, int) else ctypes.addressof(view)) for view in views
    ]
    ctypes.set_errno(0)
    return function(*numbers), ctypes.get_errno()
