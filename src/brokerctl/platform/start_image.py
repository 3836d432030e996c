"""The start-up image: the byte code of all that a warm hand-out imports, in one file.

This module's own byte code is that file, once `image_writer` has written it: to Python, to pip and
to `compileall` it is byte code like any other, so that what compiles, moves or removes the package
does so with the image too. The code of the other modules stands among the constants of this one's.
`bootstrap` reads it at once, and runs it only if it is whole. Whatever is wrong with it, modules
are found and loaded one by one, with the same answer.

What is in it, in this order:

* Python's 16 bytes of a byte code file (PEP 552): magic number, flags, time and size of this source
* this module's code, whose last constant is a `Parts`
* what of those modules is made late: classes and functions that no warm hand-out needs
  (`image_split`), in a piece for each module. It is read at once too, so that a program that is
  replaced while it runs finds its own; each piece is checked when something in it is asked for
* a `Step`, marshalled, for each command line that needs more, and for modules that only some
  hand-outs need (`load_at_once`): see `Place`. Read when it is needed
* three numbers of 8 bytes: how much is read at each start, how much of that is checked then (the
  first two), and SipHash of what is checked (`_imp.source_hash`), with Python's version as its key.
  These are read first. The hash finds accidental damage, which could crash the interpreter, and
  another Python's code. Security: it is no signature. Who can write here can write the byte code
  beside it as well.
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
    from collections.abc import Callable, Mapping
    from types import CodeType, ModuleType
    from typing import Any

    from brokerctl.platform.image_split import Import

    # A file as its byte code knows it: path (relative: below the folder of packages), size, time.
    File = tuple[str, int, int]
    # Where bytes lie apart: begin, length, hash.
    Place = tuple[int, int, bytes]
    # Code, path of the source below the folder of packages, whether it is a package's, Python's own
    # names in it, imports, imports of what is made late elsewhere, and what is made late here, by
    # qualified name and marshalled; that is a mapping, or where one lies, marshalled.
    Imports = tuple[Import, ...]
    Module = tuple[
        CodeType, str, bool, tuple[str, ...], Imports, Imports, Mapping[str, bytes] | Place
    ]
    # Some modules: the files that they were made of, the paths of compiled ones ("": a part of the
    # interpreter), the names in the order in which they are run, and the others.
    Step = tuple[tuple[File, ...], dict[str, str], tuple[str, ...], dict[str, Module]]
    # What the front door needs, what each warm hand-out does, and where more lies: by the first
    # words of those that need it (`exec`, `helper`, `helper git`), or by a module's name.
    Parts = tuple[Step, Step, dict[str, Place]]

KEY = sys.hexversion
_OWN, _DOOR = "brokerctl.platform.start_image", "brokerctl.__main__"
_FINDER = "brokerctl.platform.import_finder"
_BUILTINS = sys.modules["builtins"].__dict__
# What Python asks for here and in no module.
_ALWAYS = {name: _BUILTINS[name] for name in ("__import__", "__build_class__")}
_SPECIFIED = ("__loader__", "__spec__")  # made where they are first asked for, too
_IS_FUNCTION = 2  # in a code object's flags: CO_NEWLOCALS
_SIZE, _TIME = 6, 8  # in a stat result: the whole seconds, as byte code has them

_lock = _thread.RLock()
_packages = ""
_image = ""
_begin = 0
_apart = memoryview(b"")
_steps: list[Step] = []
_places: dict[str, Place] = {}
_read: dict[str, Mapping[str, bytes]] = {}  # what is made late, by the paths of modules


def boot(
    parts: Parts, packages: str, image: str, data: memoryview, length: int
) -> Callable[[], None]:
    """Return the front door, made from an image that is whole; ImportError if a source has changed.

    `packages` is the folder that the package is in, `image` the path of the image, `data` what was
    read of it, and `length` how much of that was checked.
    """
    global _packages, _image, _begin, _apart, _places
    first, later, _places = parts
    _packages, _image, _begin, _apart = packages, image, len(data), data[length:]
    if not (_is_current(first) and _is_current(later)):
        raise ImportError("a source that was edited")
    _steps.extend((first, later))
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
    """What is made of a module where it is first asked for, and what of Python's it has so far.

    Python looks here for a name that a module doesn't have, and slowly, as this is no plain
    dictionary: so what is found becomes the module's own.
    """

    __slots__ = ("found", "module")
    found: dict[str, object]  # the module's names
    module: Module

    def __missing__(self, name: str) -> object:
        """Make what is missing; KeyError, which becomes a NameError, if there is none."""
        with _lock:
            if name not in self.found:
                self.found[name] = self.find(name)
            return self.found[name]

    def find(self, name: str) -> object:
        """Return a loader or spec, something that is imported, Python's own, or made late."""
        if name in _SPECIFIED:
            return self.specify()[name]
        for module, names, bound in self.module[5]:
            if name in bound:
                there = names[bound.index(name)]
                return getattr(__import__(module, fromlist=(there,)), there)
        return _BUILTINS[name] if name in _BUILTINS else self.make(name)

    def find_attribute(self, name: str) -> object:
        """Do so for `from MODULE import NAME` and for `MODULE.NAME`."""
        if name in _SPECIFIED or (name not in _BUILTINS and name != "__path__"):
            try:
                return self.__missing__(name)
            except KeyError:
                pass
        raise AttributeError(f"module {self.found['__name__']!r} has no attribute {name!r}")

    def specify(self) -> dict[str, object]:
        """Give the module what `import` gives it for itself; hardly any start needs it."""
        name, where = str(self.found["__name__"]), str(self.found["__file__"])
        loader = external.SourceFileLoader(name, where)
        spec = importlib.ModuleSpec(name, loader, origin=where)
        spec.has_location = True
        if self.module[2]:
            spec.submodule_search_locations = [where[: where.rindex("/")]]
        self.found["__loader__"], self.found["__spec__"] = loader, spec
        return self.found

    def make(self, name: str) -> object:
        """Make a class or function, by its qualified name; KeyError if there is none."""
        code, names, defaults, by_name = marshal.loads(_late(self.module)[name])  # noqa: S302 - as trusted as the byte code beside it
        found = self.found
        for one in names:
            found.setdefault(one, _BUILTINS[one])
        if not code.co_flags & _IS_FUNCTION:
            exec(code, found)  # noqa: S102 - as `import` does
            return found[name]
        function: Any = type(_check)
        made = function(code, found, None, defaults)
        made.__kwdefaults__ = by_name
        return made


def _late(module: Module) -> Mapping[str, bytes]:
    """Return what of a module is made late; if it is damaged, made of the source again."""
    path, late = module[1], module[6]
    if not isinstance(late, tuple):
        return late
    if path not in _read:
        data = _check(late)
        if data is None:
            _read[path] = _split_again(path)
        else:
            _read[path] = marshal.loads(data)  # noqa: S302 - as trusted as the byte code beside it
    return _read[path]


def _check(place: Place) -> memoryview | None:
    """Return the bytes that lie there, of what was read at once; None if they are damaged."""
    begin, length, digest = place
    data = _apart[begin : begin + length]
    return data if _imp.source_hash(KEY, data) == digest else None


def _split_again(path: str) -> Mapping[str, bytes]:
    """Make of a module's source what is made late of it. Its importer may be damaged as well."""
    if not all(_is_current(step) for step in _steps):
        raise ImportError(f"{path} has changed")
    sys.meta_path[:] = [one for one in sys.meta_path if one is not sys.modules.get(_FINDER)]
    from brokerctl.platform.image_split import split_again  # noqa: PLC0415 - hardly ever

    return split_again(_packages, path)


class _LateMethod(str):
    """Stands in a class for a method of this name, until that is first asked for."""

    __slots__ = ("made",)
    made: Any  # the method; before it is made there is no such attribute

    def __get__(self, instance: object, owner: type) -> object:
        """Return the method, after it was put into the class."""
        with _lock:
            if not hasattr(self, "made"):
                cls = next(one for one in owner.__mro__ if one.__dict__.get(self) is self)
                names = sys.modules[cls.__module__].__dict__["__builtins__"]
                self.made = names.make(f"{cls.__qualname__}.{self}")
                setattr(cls, str(self), self.made)
        return self.made.__get__(instance, owner)


def preload(words: list[str], *, is_start: bool = True) -> None:
    """Run what lies apart for these words; what can't be run is left to Python.

    `is_start`: all modules of a warm hand-out first, in their order.
    """
    try:
        if is_start:
            _run(_steps[1])
        for count in range(1, len(words[:2]) + 1):
            step = _read_step(" ".join(words[:count]))
            if step is None or not _is_current(step):
                return  # what comes after counts on it
            files, compiled, order, modules = step
            lacking = modules.keys() - sys.modules.keys()  # another part may have had some of them
            _run((files, compiled, order, {name: modules[name] for name in lacking}))
    except Exception:  # noqa: BLE001 - it comes again where the module is asked for, if it is
        return


def is_whole() -> bool:
    """Return whether what lies apart is all there, and of the sources that there are."""
    late = [module[6] for step in _steps for module in step[3].values()]
    if any(isinstance(place, tuple) and _check(place) is None for place in late):
        return False
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
    """Load a compiled module whose place is known; else it is looked for where it is imported.

    An empty path says that it is a part of the interpreter.
    """
    if name in sys.modules:
        return
    where = path if path[:1] in ("", "/") else f"{_packages}/{path}"
    loader: Any = external.ExtensionFileLoader(name, where) if path else importlib.BuiltinImporter
    spec = importlib.ModuleSpec(name, loader, origin=where or "built-in")
    spec.has_location = bool(path)
    try:  # what `import` does with a spec, in fewer steps
        made = _imp.create_dynamic(spec) if path else _imp.create_builtin(spec)
        sys.modules[name] = made
        made.__spec__, made.__loader__, made.__package__ = spec, loader, spec.parent
        if path:
            made.__file__ = where
        (_imp.exec_dynamic if path else _imp.exec_builtin)(made)
    except BaseException as error:
        sys.modules.pop(name, None)
        if not isinstance(error, Exception):
            raise
    else:
        if spec.parent:
            setattr(sys.modules[spec.parent], name.rpartition(".")[2], made)


def _run(step: Step) -> None:
    """Make all these modules and then run them, each after those that it imports.

    The order may name modules that are there already.
    """
    _, compiled, order, modules = step
    made: dict[str, ModuleType] = {}
    try:
        for name, module in modules.items():
            made[name] = _make(name, module)
        for name in order:
            if name not in made:  # compiled, or run before
                _load_compiled(name, compiled.get(name, ""))
                continue
            found, module = made[name].__dict__, modules[name]
            for where, names, bound in module[4]:
                there = sys.modules[where].__dict__
                for one, here in zip(names, bound):  # noqa: B905 - of one length
                    found[here] = there[one]
            exec(module[0], found)  # noqa: S102 - as `import` does
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], last, made[name])
            del made[name]
    finally:
        for name in made:  # was not run to its end
            sys.modules.pop(name, None)


def _make(name: str, module: Module) -> ModuleType:
    """Make a module as `import` does, but for its loader and spec."""
    _, path, is_package, builtins, *_ = module
    made = sys.modules[name] = type(sys)(name)
    own = made.__dict__
    del own["__loader__"], own["__spec__"]
    own["__file__"] = where = f"{_packages}/{path}"
    own["__package__"] = name if is_package else name.rpartition(".")[0]
    if is_package:
        own["__path__"] = [where[: where.rindex("/")]]
    for one in builtins:
        own[one] = _BUILTINS[one]
    names = own["__builtins__"] = _Names(_ALWAYS)
    names.found, names.module = own, module
    own["__getattr__"], own["__late__"] = names.find_attribute, _LateMethod
    return made
