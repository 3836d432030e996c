"""The start-up image: the byte code of all that a warm hand-out imports, in one file.

This module's own byte code is that file, once `image_writer` has written it: to Python, to pip and
to `compileall` it is byte code like any other, so that what compiles, moves or removes the package
does so with the image too. The code of the other modules stands among the constants of this one's.
bin/brokerctl reads it at once, and runs it only if it is whole. Whatever is wrong with it, modules
are found and loaded one by one, with the same answer.

What is read, in this order:

* Python's 16 bytes of a byte code file (PEP 552): magic number, flags, time and size of this source
* this module's code, whose last constant is a `Parts`
* the code of each module that only some commands need: see `Apart`
* 8 bytes: the sum of the lengths of the first two; 8 bytes: SipHash of those (`_imp.source_hash`),
  with Python's version as its key. These are read first, to know how much to read. The hash finds
  accidental damage, which could crash the interpreter, and another Python's code. Security: it is
  no signature. Who can write here can write the byte code beside it as well.
"""

from __future__ import annotations

import _frozen_importlib as importlib
import _frozen_importlib_external as external
import _imp
import _thread
import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import CodeType, ModuleType

    # A file as its byte code knows it: path (relative: below the folder of packages), size, time.
    File = tuple[str, int, int]
    # Code, path of the source below the folder of packages, whether it is a package's, and which of
    # Python's own names are used in it.
    Module = tuple[CodeType, str, bool, tuple[str, ...]]
    # The module that a class is in, and the code that makes it.
    Deferred = tuple[str, CodeType]
    # Size and time of the source; begin (behind the first two), length and hash of its code.
    Apart = tuple[int, int, int, int, bytes]
    # All files that this was made of; compiled modules with their paths; the names of each of the
    # two steps in the order in which they are run; the other modules; classes that are made where
    # they are first asked for, by their names; modules that lie apart.
    Parts = tuple[
        tuple[File, ...],
        dict[str, str],
        tuple[tuple[str, ...], tuple[str, ...]],
        dict[str, Module],
        dict[str, Deferred],
        dict[str, Apart],
    ]

KEY = sys.hexversion
_OWN, _DOOR = "brokerctl.platform.start_image", "brokerctl.__main__"
_BUILTINS = sys.modules["builtins"].__dict__
_MOST_BYTES = 1 << 22
_SIZE, _TIME = 6, 8  # in a stat result: the whole seconds, as byte code has them

_lock = _thread.RLock()
_packages = ""
_image = ""
_begin = 0
_rest: list[bytes] = []
_compiled: dict[str, str] = {}
_later: tuple[str, ...] = ()
_modules: dict[str, Module] = {}
_deferred: dict[str, Deferred] = {}
_apart: dict[str, Apart] = {}


def boot(parts: Parts, packages: str, image: str, length: int) -> Callable[[], None] | None:
    """Return the front door, made from an image that is whole; None if any source has changed.

    `packages` is the folder that the package is in, `image` the path of the image, and `length` how
    many of its bytes were read.
    """
    global _packages, _image, _begin, _compiled, _later, _modules, _deferred, _apart
    files, _compiled, (first, _later), _modules, _deferred, _apart = parts
    for path, size, time in files:
        found = posix.stat(path if path[0] == "/" else f"{packages}/{path}")
        if found[_SIZE] != size or found[_TIME] != time:
            return None
    _packages, _image, _begin = packages, image, length
    own = sys.modules[_OWN] = type(sys)(_OWN)
    own.__dict__.update(globals())
    try:
        _run(first)
        door: Callable[[], None] = sys.modules[_DOOR].main
    except BaseException:
        for name in (_OWN, *(_modules.keys() & first)):
            sys.modules.pop(name, None)
        raise
    return door


class _Names(dict):  # type: ignore[type-arg]  # `dict[str, object]` costs more as a base
    """Python's own names, and those of classes that are made where they are first asked for.

    A name means one class in all of these modules, so that none of them has to import it. Python
    looks here for what a module doesn't have, and slowly, as this is no plain dictionary: so each
    module is given those of Python's own names that it uses.
    """

    def give(self, found: dict[str, object], names: tuple[str, ...]) -> None:
        """Have a module use these."""
        own = _BUILTINS
        for name in names:
            found[name] = own[name]
        found["__builtins__"] = self
        found["__getattr__"] = self.find_attribute

    def __missing__(self, name: str) -> object:
        """Make a class in its module; KeyError, which becomes a NameError, if there is none."""
        module, code = _deferred[name]
        with _lock:
            __import__(module)
            found = sys.modules[module].__dict__
            if name not in found:
                exec(code, found)  # noqa: S102 - as `import` does
            self[name] = made = found[name]
        return made

    def find_attribute(self, name: str) -> object:
        """Do so for `from MODULE import NAME` and for `MODULE.NAME`."""
        if name not in _deferred:
            raise AttributeError(name)
        return self[name]


def preload() -> None:
    """Run all modules of a warm hand-out, in their order; what can't be run is left to Python."""
    try:
        _run(_later, _Names(_BUILTINS))
    except Exception:  # noqa: BLE001 - it comes again where the module is asked for, if it is
        return


def find_code(name: str, found: os.stat_result) -> CodeType | None:
    """Return a module's code, if the image has that of the source whose stat result is `found`."""
    if name not in _apart:
        return None
    size, time, begin, length, digest = _apart[name]
    if found[_SIZE] != size or found[_TIME] != time:
        return None
    data = _read_rest()[begin : begin + length]
    if _imp.source_hash(KEY, data) != digest:
        return None  # damaged, or of an image that was written since
    code: CodeType = marshal.loads(data)  # noqa: S302 - as trusted as the byte code beside it
    return code


def _read_rest() -> bytes:
    """Return what lies apart, read when it is first asked for; nothing where it can't be."""
    if not _rest:
        data = b""
        try:
            fd = posix.open(_image, posix.O_NOFOLLOW | posix.O_NONBLOCK)
            try:
                data = posix.pread(fd, _MOST_BYTES, _begin)
            finally:
                posix.close(fd)
        except OSError:
            pass
        _rest.append(data)
    return _rest[0]


def _load_compiled(name: str, path: str) -> None:
    """Load a compiled module whose place is known; else it is looked for where it is imported."""
    where = path if path[0] == "/" else f"{_packages}/{path}"
    loader = external.ExtensionFileLoader(name, where)
    spec = importlib.ModuleSpec(name, loader, origin=where)
    spec.has_location = True
    try:
        importlib._load(spec)  # type: ignore[attr-defined]  # not in its stubs  # noqa: SLF001 - what `import` does with a spec
    except ImportError:
        sys.modules.pop(name, None)


def _run(names: tuple[str, ...], builtins: _Names | None = None) -> None:
    """Make all these modules and then run them, each after those that it imports."""
    made: dict[str, ModuleType] = {}
    try:
        for name in names:
            if name not in _compiled:
                made[name] = _make(name)
                if builtins is not None:
                    builtins.give(made[name].__dict__, _modules[name][3])
        for name in names:
            if name in _compiled:
                _load_compiled(name, _compiled[name])
                continue
            exec(_modules[name][0], made[name].__dict__)  # noqa: S102 - as `import` does
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], last, made[name])
            del made[name]
    finally:
        for name in made:  # was not run to its end
            sys.modules.pop(name, None)


def _make(name: str) -> ModuleType:
    """Make a module as `import` does."""
    _, path, is_package, _ = _modules[name]
    where = f"{_packages}/{path}"
    module = sys.modules[name] = type(sys)(name)
    loader = external.SourceFileLoader(name, where)
    spec = importlib.ModuleSpec(name, loader, origin=where)
    spec.has_location = True
    found = module.__dict__
    found["__loader__"], found["__spec__"], found["__file__"] = loader, spec, where
    found["__package__"] = name if is_package else name.rpartition(".")[0]
    if is_package:
        found["__path__"] = spec.submodule_search_locations = [where[: where.rindex("/")]]
    return module
