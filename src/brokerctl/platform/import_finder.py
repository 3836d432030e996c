"""Where our own modules are, said at once: importing them is most of what a warm hand-out costs.

Python's finder lists each package's folder and stats what it finds; its loader reads a file in ten
system calls. Here a module is the file of its name in its package's folder, and is read in four.
What byte code is good for a source, and what is done with it, stays Python's own loader's business
(PEP 3147, PEP 552): the loader here inherits it. The finder is this module itself.
"""

from __future__ import annotations

import _thread
import sys

from brokerctl.platform.system import os, stat

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec, SourceFileLoader
    from types import ModuleType
    from typing import Any
else:  # the same two classes: `importlib.machinery` is five modules that nobody else needs here
    ModuleSpec, SourceFileLoader = type(__spec__), type(__loader__)

_OURS = "brokerctl."
IMAGE = "brokerctl.platform.start_image"  # loaded in a process that was started by an image


class _Loader(SourceFileLoader):
    """Python's loader of a source file and its byte code, of which `found` was the stat result."""

    found: os.stat_result | None

    def path_stats(self, path: str) -> dict[str, Any]:
        """Return the source's time and size, which its byte code has to have too."""
        found, self.found = self.found, None  # once: a later read is of another moment
        if found is None or path != self.path:
            return super().path_stats(path)  # type: ignore[return-value]  # a mapping to read
        return {"mtime": found.st_mtime, "size": found.st_size}

    def get_data(self, path: str) -> bytes:
        """Return a file's bytes; OSError if it can't be read."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            data = os.read(fd, size + 1)
        finally:
            os.close(fd)
        return data if len(data) == size else super().get_data(path)


def find_spec(
    name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
) -> ModuleSpec | None:
    """Return what is to be imported; None where it is not a plain file of ours."""
    if not path or not name.startswith(_OURS):
        return None
    base = f"{path[0]}/{name[name.rfind('.') + 1 :]}"
    places, origin = None, f"{base}.py"
    try:
        found = os.stat(origin)
    except OSError:
        places, origin = [base], f"{base}/__init__.py"
        try:
            found = os.stat(origin)
        except OSError:
            return None
    if not stat.S_ISREG(found.st_mode):
        return None
    loader = _Loader(name, origin)
    loader.found = found
    spec = ModuleSpec(name, loader, origin=origin)
    spec.submodule_search_locations = places
    spec.has_location = True
    return spec


def find_at_once(hot: list[str] | None = None) -> None:
    """Let this process find our modules so, if they are files; `hot`: the words of a hot command.

    What these need is run beforehand, where a start-up image has it.
    """
    own = sys.modules[__name__]
    if SourceFileLoader.__name__ == "SourceFileLoader" and own not in sys.meta_path:
        sys.meta_path.insert(0, own)
    if hot and IMAGE in sys.modules:
        sys.modules[IMAGE].preload(hot)


def load_at_once(module: str) -> None:
    """Run a module of ours and all that it needs, where a start-up image has them apart.

    Python has locks that keep other threads from a module that is not run to its end, and the
    image has none: so where there are others, it is left to Python.
    """
    if module not in sys.modules and IMAGE in sys.modules and not _thread._count():  # noqa: SLF001 - it has no other name
        sys.modules[IMAGE].preload([module], is_start=False)
