"""What bin/brokerctl does after it has found the package: read the start-up image (`start_image`).

The script runs this as its own code. It is byte code, and Python has to parse the script alone.
No `from __future__` stands here: that is a module, and costs as much as all the rest.
"""

import _imp
import gc
import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MODE, _OWNER, _SIZE = 0, 4, 6  # in a stat result
_TRAILER = 24
_OTHERS_WRITE = 0o022


def find_main(packages: str) -> "Callable[[], None]":
    """Return the front door from the image; an exception, of any kind, if that can't be used.

    `packages` is the folder that the package is in. Security: the image has to be whole, and its
    source's owner's or root's.
    """
    gc.disable()  # a start has nothing to collect; the full program turns it on again
    place, tag = f"{packages}/brokerctl/platform/", sys.implementation.cache_tag
    path = f"{place}__pycache__/start_image.{tag}.pyc"
    source: tuple[Any, ...] = posix.stat(f"{place}start_image.py")
    fd = posix.open(path, posix.O_NONBLOCK | posix.O_NOFOLLOW)
    try:
        image: tuple[Any, ...] = posix.fstat(fd)
        end = posix.pread(fd, _TRAILER, image[_SIZE] - _TRAILER)
        data = memoryview(posix.pread(fd, int.from_bytes(end[:8]), 0))
    finally:
        posix.close(fd)
    if image[_MODE] != source[_MODE] & ~_OTHERS_WRITE or image[_OWNER] not in (0, source[_OWNER]):
        raise ImportError("an image that others may have written")
    checked = int.from_bytes(end[8:16])
    if _imp.source_hash(sys.hexversion, data[:checked]) != end[16:]:
        raise ImportError("no image, a damaged one, or another Python's")
    code = marshal.loads(data[16:checked])  # noqa: S302 - as trusted as the byte code beside it
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - as `import` does
    door: Callable[[], None] = names["boot"](code.co_consts[-1], packages, path, data, checked)
    sys.path.append(packages)
    return door


if __name__ == "__main__":  # in the script, which has these two names
    main = find_main(packages)  # type: ignore[name-defined]  # noqa: F821 - as above
