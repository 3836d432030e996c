"""The start-up image: the byte code of all that a warm hand-out imports, in one file.

This module's own byte code is that file, once `image_writer` has written it: to Python, to pip and
to `compileall` it is byte code like any other, so that what compiles, moves or removes the package
does so with the image too. The code of the other modules stands among the constants of this one's.
bin/brokerctl reads it at once, and runs it only if it is whole. Whatever is wrong with it, modules
are found and loaded one by one, with the same answer.

What is read, in this order:

* Python's 16 bytes of a byte code file (PEP 552): magic number, flags, time and size of this source
* this module's code, whose last constant is a `Parts`
* a `Step`, marshalled, for each command line that needs more: see `Place`
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
    from collections.abc import Callable
    from types import CodeType, ModuleType

    # A file as its byte code knows it: path (relative: below the folder of packages), size, time.
    File = tuple[str, int, int]
    # Code, path of the source below the folder of packages, whether it is a package's, and which of
    # Python's own names are used in it.
    Module = tuple[CodeType, str, bool, tuple[str, ...]]
    # The module that a class is in, and the code that makes it.
    Deferred = tuple[str, CodeType]
    # Some modules: the files that they were made of, the paths of compiled ones, the names in the
    # order in which they are run, the others, and classes that are made where they are first asked
    # for, by their names.
    Step = tuple[
        tuple[File, ...], dict[str, str], tuple[str, ...], dict[str, Module], dict[str, Deferred]
    ]
    # Where a step lies apart: begin (behind the first two), length, hash.
    Place = tuple[int, int, bytes]
    # What the front door needs, what each warm hand-out does, and more by the first words of those
    # that need it: `exec`, `helper`, `helper git`.
    Parts = tuple[Step, Step, dict[str, Place]]

KEY = sys.hexversion
_OWN, _DOOR = "brokerctl.platform.start_image", "brokerctl.__main__"
_BUILTINS = sys.modules["builtins"].__dict__
_SIZE, _TIME = 6, 8  # in a stat result: the whole seconds, as byte code has them

_lock = _thread.RLock()
_packages = ""
_image = ""
_begin = 0
_later: list[Step] = []
_places: dict[str, Place] = {}
_deferred: dict[str, Deferred] = {}


def boot(parts: Parts, packages: str, image: str, length: int) -> Callable[[], None] | None:
    """Return the front door, made from an image that is whole; None if any source has changed.

    `packages` is the folder that the package is in, `image` the path of the image, and `length` how
    many of its bytes were read.
    """
    global _packages, _image, _begin, _places
    first, later, _places = parts
    _packages, _image, _begin = packages, image, length
    if not (_is_current(first) and _is_current(later)):
        return None
    _later.append(later)
    own = sys.modules[_OWN] = type(sys)(_OWN)
    own.__dict__.update(globals())
    try:
        _run(first)
        door: Callable[[], None] = sys.modules[_DOOR].main
    except BaseException:
        for name in (_OWN, *first[3]):
            sys.modules.pop(name, None)
        raise
    return door


def _is_current(step: Step) -> bool:
    """Return whether all files have the size and time that they had."""
    for path, size, time in step[0]:
        found = posix.stat(path if path[0] == "/" else f"{_packages}/{path}")
        if found[_SIZE] != size or found[_TIME] != time:
            return False
    return True


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


def preload(words: list[str]) -> None:
    """Run all modules of a warm hand-out, in their order; what can't be run is left to Python."""
    names = _Names(_BUILTINS)
    try:
        _run(_later[0], names)
        for count in range(1, len(words[:2]) + 1):
            step = _read_step(" ".join(words[:count]))
            if step is None or not _is_current(step):
                return  # what comes after counts on it
            _run(step, names)
    except Exception:  # noqa: BLE001 - it comes again where the module is asked for, if it is
        return


def is_whole() -> bool:
    """Return whether what lies apart is all there, and of the sources that there are."""
    try:
        steps = [_read_step(words) for words in _places]
        return all(step is not None and _is_current(step) for step in steps)
    except OSError:
        return False


def _read_step(words: str) -> Step | None:
    """Return what lies apart for these words; None if there is nothing, or not what was there."""
    if words not in _places:
        return None
    begin, length, digest = _places[words]
    fd = posix.open(_image, posix.O_NOFOLLOW | posix.O_NONBLOCK)
    try:
        data = posix.pread(fd, length, _begin + begin)
    finally:
        posix.close(fd)
    if _imp.source_hash(KEY, data) != digest:
        return None  # damaged, or of an image that was written since
    step: Step = marshal.loads(data)  # noqa: S302 - as trusted as the byte code beside it
    return step


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


def _run(step: Step, names: _Names | None = None) -> None:
    """Make all these modules and then run them, each after those that it imports."""
    _, compiled, order, modules, deferred = step
    _deferred.update(deferred)
    made: dict[str, ModuleType] = {}
    try:
        for name, found in modules.items():
            made[name] = _make(name, found)
            if names is not None:
                names.give(made[name].__dict__, found[3])
        for name in order:
            if name in compiled:
                _load_compiled(name, compiled[name])
                continue
            exec(modules[name][0], made[name].__dict__)  # noqa: S102 - as `import` does
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], last, made[name])
            del made[name]
    finally:
        for name in made:  # was not run to its end
            sys.modules.pop(name, None)


def _make(name: str, found: Module) -> ModuleType:
    """Make a module as `import` does."""
    _, path, is_package, _ = found
    where = f"{_packages}/{path}"
    module = sys.modules[name] = type(sys)(name)
    loader = external.SourceFileLoader(name, where)
    spec = importlib.ModuleSpec(name, loader, origin=where)
    spec.has_location = True
    own = module.__dict__
    own["__loader__"], own["__spec__"], own["__file__"] = loader, spec, where
    own["__package__"] = name if is_package else name.rpartition(".")[0]
    if is_package:
        own["__path__"] = spec.submodule_search_locations = [where[: where.rindex("/")]]
    return module
