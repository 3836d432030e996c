"""What is written as the start-up image: all modules of a hand-out, in an order that can be run."""

from __future__ import annotations

import _imp
import _thread
import ast
import functools
import importlib.util
import marshal
import os
import sys
import threading
from types import CodeType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.__main__ import DOORS
from brokerctl.cli.start_image import needed
from brokerctl.helpers import HELPERS
from brokerctl.platform import image_writer, import_finder
from brokerctl.platform.image_sources import ModuleSource, is_ours
from brokerctl.platform.image_split import split
from brokerctl.platform.import_finder import IMAGE
from tests.house.source import ROOT, read, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = {source.module: source for source in sources("src")}
PACKAGES = os.path.join(ROOT, "src")


@functools.cache
def parts() -> tuple[bytes, CodeType, dict[str, Any]]:
    """Return the bytes, the code that they begin with, and the steps by the words that need them.

    The front door's is "", that of each warm hand-out "get".
    """
    data = image_writer.build(PACKAGES, *needed(DOORS))
    code = marshal.loads(data[16:])  # noqa: S302 - our own
    first, later, places = code.co_consts[-1]
    steps, rest = {"": first, "get": later}, data[int.from_bytes(data[-24:-16]) :]
    for words, (begin, length, digest) in places.items():
        piece = rest[begin : begin + length]
        assert _imp.source_hash(image_writer.KEY, piece) == digest
        steps[words] = marshal.loads(piece)  # noqa: S302 - our own
    return data, code, steps


def steps_for(words: str) -> list[Any]:
    """Return the steps that a command line runs, in their order."""
    steps = parts()[2]
    found = [steps[""], steps["get"]]
    for one in (words.rpartition(" " if " " in words else ".")[0], words):
        if one in steps and steps[one] not in found:
            found.append(steps[one])
    return found


MODULES = [key for key in needed(DOORS)[1] if is_ours(key)]
EACH = ["get", "exec", *(f"helper {tool}" for tool in HELPERS), *MODULES]


def imports_at_start(module: str) -> Iterator[str]:
    """Yield the modules of ours that one imports at its top, for more than types."""
    for node in SOURCES[module].tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("brokerctl"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name", ["warm", "exec", "helper-git", "helper-docker"])
def test_it_has_what_a_hand_out_loads(name: str) -> None:
    """All that the golden list of it names, and for a `get` nothing else."""
    words = "get" if name == "warm" else name.replace("-", " ")
    steps = steps_for(words)
    names = {module for _, _, order, _ in steps for module in order}
    golden = set(read(f"tests/house/golden/{name}.txt").split())
    ours = {module for module in golden if module.startswith("brokerctl")}
    assert ours <= names
    if words == "get":
        assert {module for module in names if module.startswith("brokerctl")} == ours
        others = {one for one in names - ours if one not in sys.builtin_module_names}
        assert others <= golden


def test_it_has_what_a_waiter_loads() -> None:
    """All that the golden list of a waiter names beside that of a warm `get`, in a part apart."""
    _, _, order, _ = parts()[2]["brokerctl.broker.obtain"]
    warm, waiter = (read(f"tests/house/golden/{one}.txt").split() for one in ("warm", "waiter"))
    assert set(waiter) - set(warm) <= set(order)
    assert not set(order) & set(warm)


def test_each_step_says_what_it_is_made_of() -> None:
    """Every module is in the order once, and its file among those that are looked at."""
    for words, (files, compiled, order, modules) in parts()[2].items():
        assert sorted(order) == sorted(modules.keys() | compiled.keys())
        assert len(set(order)) == len(order)
        paths = {path for path, _, _ in files}
        files_of = {found[1] for found in modules.values()} | set(compiled.values()) - {""}
        assert files_of <= paths
        builtin = list(compiled.values()).count("")  # in the interpreter itself
        assert len(paths) == len(order) - builtin + (not words)  # and the image's own source
        for path, size, seconds in files:
            found = os.stat(os.path.join(PACKAGES, path))
            assert (size, seconds) == (found.st_size, int(found.st_mtime))


@pytest.mark.parametrize("words", EACH)
def test_each_module_is_run_after_those_that_it_imports(words: str) -> None:
    """The order is one in which Python could have loaded them."""
    order = [name for step in steps_for(words) for name in step[2] if name in SOURCES]
    assert len(set(order)) == len(order)
    done: set[str] = set()
    for name in order:
        needed_first = {one for one in imports_at_start(name) if one in SOURCES and one != name}
        assert needed_first <= done, name
        done.add(name)


def bound_names(module: tuple[Any, ...]) -> set[str]:
    """Return the names that a module of an image may bind when it is run."""
    return {
        *module[0].co_names,
        *(name for _, _, bound in (*module[4], *module[5]) for name in bound),
    }


def test_no_package_gives_another_meaning_to_the_name_of_a_module_in_it() -> None:
    """A module is bound in its package before the package's own lines are run, and stays so."""
    for _, _, order, modules in parts()[2].values():
        for name in order:
            package, _, last = name.rpartition(".")
            if package in modules and last in bound_names(modules[package]):
                assert name in set(imports_at_start(package)), name


def test_it_begins_as_byte_code_of_its_source() -> None:
    """Magic number, time and size as Python writes them, then the code of that module."""
    data, code, _ = parts()
    path = os.path.join(ROOT, "src/brokerctl/platform/start_image.py")
    found = os.stat(path)
    head = importlib.util.MAGIC_NUMBER + bytes(4)
    head += int(found.st_mtime).to_bytes(4, "little") + found.st_size.to_bytes(4, "little")
    assert data[:16] == head
    assert code.co_filename.endswith("start_image.py")


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all that are in it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from nested(one)


def late(module: tuple[Any, ...], data: bytes = b"") -> dict[str, Any]:
    """Return what of a module is made late."""
    found = module[6]
    if isinstance(found, tuple):
        data = data or parts()[0]
        begin, length, digest = found
        begin += int.from_bytes(data[-16:-8])
        piece = data[begin : begin + length]
        assert _imp.source_hash(image_writer.KEY, piece) == digest
        found = marshal.loads(piece)  # noqa: S302 - our own
    return {name: marshal.loads(one) for name, one in found.items()}  # noqa: S302 - our own


def test_lines_stay_and_nothing_else() -> None:
    """Each function begins where it does in its source, without columns, docstring or types."""
    found: dict[str, list[CodeType]] = {}
    for _, _, _, modules in parts()[2].values():
        for name, module in modules.items():
            found[name] = [module[0], *(one[0] for one in late(module).values())]
    found.pop("nacl", None)
    for name, made in found.items():
        whole = compile(SOURCES[name].tree, "", "exec")
        lines = {(one.co_qualname, one.co_firstlineno) for one in nested(whole)}
        for one in (inner for code in made for inner in nested(code)):
            assert (one.co_qualname, one.co_firstlineno) in lines
            assert {place[2] for place in list(one.co_positions())[1:]} <= {None, 0}
            assert "__future__" not in one.co_names
            assert "collections.abc" not in one.co_names  # which our sources have for types alone


def test_imports_that_are_done_at_once_find_what_they_import() -> None:
    """Also by way of a module that has it by such an import; else the module would not be run."""
    names = dict.fromkeys(read("tests/house/golden/warm.txt").split(), ())
    for data in (parts()[0], image_writer.build(PACKAGES, *needed(DOORS), names)):
        first, later, _ = marshal.loads(data[16:]).co_consts[-1]  # noqa: S302 - our own
        modules = {**first[3], **later[3]}
        for module in modules.values():
            for home, there, _ in module[4]:
                bound = {*late(modules[home], data)}
                bound.update(name for _, _, here in modules[home][5] for name in here)
                assert not {*there} & bound, (module[1], home)


def test_what_no_hand_out_needs_is_apart() -> None:
    """Functions, classes and methods, of which nothing is unmarshalled at a start."""
    steps = parts()[2]
    modules = {**steps[""][3], **steps["get"][3]}
    kept = [one.co_qualname for module in modules.values() for one in nested(module[0])]
    apart = [name for module in modules.values() for name in late(module)]
    assert len(apart) > 120
    assert {"parse_duration", "UsageError", "Home.revoker"} <= set(apart)
    assert {"run_words", "Home", "Value"} <= set(kept)


STRIPPED = '''
"""A docstring."""
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    import nowhere
else:
    here = 1

class Value:
    """Another."""
    first: nowhere.X
    second: int = 2
    if TYPE_CHECKING:
        def third(self) -> nowhere.X: ...

def f(a: nowhere.X, *b: int, c: int = 3, **d: int) -> nowhere.X:
    """A third."""
    if TYPE_CHECKING:
        raise ValueError
    e: int = a
    return e + c

def g():
    """Nothing but that."""
'''


def test_what_is_left_means_the_same(tmp_path: Path) -> None:
    """Fields of classes keep their names and order; what types are of is gone."""
    (tmp_path / "brokerctl/platform").mkdir(parents=True)
    for name in ("__init__", "__main__", "platform/__init__", "platform/start_image"):
        (tmp_path / f"brokerctl/{name}.py").write_text("")
    (tmp_path / "brokerctl/__main__.py").write_text(STRIPPED)
    data = image_writer.build(str(tmp_path), [], {}, {})
    module = marshal.loads(data[16:]).co_consts[-1][0][3]["brokerctl.__main__"]  # noqa: S302 - our own
    made: dict[str, Any] = {"__name__": "x"}
    for code in (module[0], *(one[0] for one in late(module, data).values())):
        exec(code, made)  # noqa: S102 - the test's own
    value, f = made["Value"], made["f"]
    assert (made["here"], f(1), f(1, c=1), made["g"]()) == (1, 4, 2, None)
    assert (list(value.__annotations__), value.second) == (["first", "second"], 2)
    assert (f.__annotations__, f.__doc__, value.__doc__, made.get("__doc__")) == (
        {},
        None,
        None,
        None,
    )


SPLIT = """
import json
from brokerctl.a import One, two as other
from brokerctl.b import open
from elsewhere import three
FIRST = 1
class Warm(One):
    pass
    both = 1
    def warm(self): return super().warm()
    def cold(self, a, b=2, *, c=(3, "x"), d): return self, a, b, c, d, len(c)
    def __cold(self): return 1
    def mangled(self): return self.__cold()
    def above(self): return super().above()
    def default(self, a=FIRST): pass
    def both(self): pass
    def used(self): pass
    also = used
    @property
    def value(self): pass
    def __eq__(self, other): pass
class Cold(One):
    first: int = 1
    def method(self): return __class__
class twice: pass
twice = twice()
class OSError: pass
def warm(): return cold()
def cold(a=1, *, b=(2,)): return a, b, FIRST, len(b)
def default(a=FIRST): pass
@staticmethod
def decorated(): pass
async def waits(): pass
def rebinds():
    global once
def once(): pass
try:
    def tried(): pass
finally: pass
"""


def test_what_is_taken_out_of_a_module() -> None:
    """What a start has no use for, and what can be made of code and constants alone."""
    source = ModuleSource("brokerctl/m.py", ast.parse(SPLIT))
    found = split(source, frozenset({"warm", "Warm", "Warm.warm"}))
    assert set(found.late) == {"Cold", "Warm.cold", "Warm.mangled", "cold", "rebinds"}
    assert found.imports == (("brokerctl.a", ("One", "two"), ("One", "other")),)
    names = found.code.co_names
    assert {"json", "open", "three", "Warm", "twice", "OSError", "default", "decorated"} <= {*names}
    assert not {"other", "Cold", "cold"} & {*names}
    code, builtins, *defaults = marshal.loads(found.late["Warm.cold"])  # noqa: S302 - our own
    assert (code.co_qualname, builtins, defaults) == (
        "Warm.cold",
        ("len",),
        [(2,), {"c": (3, "x")}],
    )
    code = marshal.loads(found.late["Warm.mangled"])[0]  # noqa: S302 - our own
    assert code.co_names == ("_Warm__cold",)


def test_all_functions_stay_where_nobody_listed_any() -> None:
    """Classes are made late all the same."""
    found = split(ModuleSource("brokerctl/m.py", ast.parse(SPLIT)))
    assert set(found.late) == {"Warm", "Cold"}


def test_nobody_s_image_is_of_sources_elsewhere() -> None:
    """An editable installation has none: bin/brokerctl looks below its interpreter alone."""
    assert image_writer.find_place() is None
    assert IMAGE not in sys.modules


def an_image() -> ModuleType:
    """Return the module of an image, apart from all that runs here."""
    path = os.path.join(ROOT, "src/brokerctl/platform/start_image.py")
    spec = importlib.util.spec_from_file_location("an_image", path)
    assert spec
    assert spec.loader
    image = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(image)
    return image


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["helper"], ["helper"]), (["helper", "git", "get"], ["helper", "helper git"])],
)
def test_a_step_is_run_once(words: list[str], wanted: list[str]) -> None:
    """One by the first word, and one by the first two where there are two."""
    image = an_image()
    read_for: list[str] = []

    def read_step(found: str) -> tuple[Any, ...]:
        read_for.append(found)
        return (), {}, (), {}

    vars(image).update(_steps=[((), {}, (), {})] * 2, _read_step=read_step)
    image.preload(words)
    assert read_for == wanted


@pytest.mark.parametrize("is_there", [False, True])
def test_a_module_that_is_there_stays(monkeypatch: pytest.MonkeyPatch, *, is_there: bool) -> None:
    """What lies apart for one hand-out may be needed by another: it is run once for all."""
    image, name = an_image(), "brokerctl_apart"
    code = compile("made = []", name, "exec")
    step: Any = (), {}, (name,), {name: (code, f"{name}.py", False, (), (), (), {})}
    vars(image).update(_read_step=lambda _: step)
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    if not is_there:
        del sys.modules[name]
    before = sys.modules.get(name)
    image.preload([name], is_start=False)
    found = sys.modules[name]
    image.preload([name], is_start=False)
    assert sys.modules[name] is found
    assert (found is before) == is_there
    assert hasattr(found, "made") != is_there


@pytest.mark.parametrize("others", [0, 1])
def test_other_threads_wait_for_python_s_own_locks(
    monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """The image has none: a thread must not find a module that is not run to its end."""
    seen: list[str] = []
    image = SimpleNamespace(preload=lambda words, *, is_start: seen.extend([*words, str(is_start)]))
    monkeypatch.setitem(sys.modules, IMAGE, image)
    stop, before = threading.Event(), _thread._count()  # noqa: SLF001 - the test runner's own
    counter = SimpleNamespace(_count=lambda: _thread._count() - before)  # noqa: SLF001 - as above
    monkeypatch.setattr(import_finder, "_thread", counter)
    threads = [threading.Thread(target=stop.wait) for _ in range(others)]
    for thread in threads:
        thread.start()
    try:
        import_finder.load_at_once("brokerctl.nowhere")
        import_finder.load_at_once("brokerctl.platform.import_finder")  # which is there
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert seen == ([] if others else ["brokerctl.nowhere", "False"])
