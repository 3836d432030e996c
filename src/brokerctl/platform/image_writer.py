"""Writes the start-up image (`start_image`), of the sources that there are and for this Python.

Only commands that take long anyway do so.
"""

from __future__ import annotations

import _frozen_importlib_external as external
import _imp
import contextlib
import importlib.util
import marshal
import os
import stat
import sys
from typing import TYPE_CHECKING

from brokerctl.platform.flock import try_lock
from brokerctl.platform.image_sources import OURS, Sources
from brokerctl.platform.image_split import compile_body, split_module
from brokerctl.platform.import_finder import IMAGE
from brokerctl.platform.system import SYSTEM
from brokerctl.platform.warm_names import WARM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import CodeType

    from brokerctl.platform.image_sources import ModuleSource
    from brokerctl.platform.image_split import Import, Split
    from brokerctl.platform.start_image import Module, Parts, Place, Step

KEY = sys.hexversion
SWITCH = "PYTHONDONTWRITEBYTECODE"  # `-I` has the interpreter itself pass it over


def find_place() -> str | None:
    """Return the path of the image; None where bin/brokerctl looks for none of these sources.

    It looks below its interpreter, where an editable installation has none, or a link to them.
    What was started in another way, as `python -m`, can't tell what that script finds.
    """
    if not sys.flags.no_site:
        return None
    place = os.path.dirname(os.path.dirname(sys.executable))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = f"{place}/lib/{version}/site-packages"
    try:
        is_here = os.path.samefile(packages, _packages())
    except OSError:
        return None
    if not is_here or sys.pycache_prefix is not None or os.path.islink(f"{packages}/{OURS}"):
        return None
    return importlib.util.cache_from_source(f"{packages}/{IMAGE.replace('.', '/')}.py")


def may_write(path: str, environ: Mapping[str, str]) -> bool:
    """Return whether an image may be written there by this process, as far as can be seen.

    Security: by the owner of the source or by root, so that others trust it as they trust that.
    """
    if environ.get(SWITCH) or sys.dont_write_bytecode:
        return False
    owner = os.stat(_source_of(path)).st_uid
    return os.geteuid() in {0, owner} and os.access(os.path.dirname(path), os.W_OK)


def write(
    warm: Iterable[str], groups: Mapping[str, Iterable[str]], environ: Mapping[str, str]
) -> None:
    """Write an image where one may be written.

    `warm` are the modules that each hand-out starts with; `groups` has those that only some
    command lines do, by their first words, and those that only some hand-outs do, by the first.
    """
    path = find_place()
    if path is not None and may_write(path, environ):
        put(path, lambda: build(_packages(), warm, groups))


def put(path: str, make: Callable[[], bytes]) -> None:
    """Make the image and put it there as a whole; one process at a time does so.

    The lock is on the source: it ends with who has it, however that ends. All that somebody else
    could stop by it is this.
    """
    source = os.open(_source_of(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _is_alone(source):
            _put(path, make(), stat.S_IMODE(os.fstat(source).st_mode) & ~0o022)
    finally:
        os.close(source)


def _is_alone(fd: int) -> bool:
    try:
        return try_lock(fd, SYSTEM)
    except OSError:  # NFS locks no file that is open for reading alone, and two do no harm
        return True


def _put(path: str, data: bytes, mode: int) -> None:
    """Security: with its source's mode, whatever the umask is, but the group may be another one."""
    beside = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)  # of a writer that was killed
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            os.fchmod(fd, mode)
        os.rename(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _source_of(path: str) -> str:
    return importlib.util.source_from_cache(path)


def _packages() -> str:
    """Return the folder that our package is in."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def build(
    packages: str,
    warm: Iterable[str],
    groups: Mapping[str, Iterable[str]],
    names: Mapping[str, tuple[str, ...]] = WARM,
) -> bytes:
    """Return the image of the package in this folder; `names`: see `warm_names`."""
    made = Sources(packages)
    first = made.closure([f"{OURS}.__main__"])
    later = made.closure(warm, first)
    more: dict[str, list[str]] = {}
    for words, modules in groups.items():
        before = more.get(words.rpartition(" " if " " in words else ".")[0], [])
        more[words] = made.closure(modules, {*first, *later, *before})
    own = made.found[IMAGE] = made.read(IMAGE)
    splits = {
        name: split_module(name, source, names)
        for name, source in made.found.items()
        if name != IMAGE
    }
    apart: list[bytes] = []
    steps = _step(made, [*first, IMAGE], splits, apart), _step(made, later, splits, apart)
    pieces = [marshal.dumps(_step(made, found, splits)) for found in more.values()]
    parts = (*steps, dict(zip(more, _places(pieces), strict=True)))
    code = compile_body(own.tree.body, own.path)
    return _render(code, made.stats[own.path], parts, b"".join(apart), pieces)


def _step(
    made: Sources, order: list[str], splits: Mapping[str, Split], apart: list[bytes] | None = None
) -> Step:
    """Return modules as the image has them: all but its own, of which it has the code already.

    What is made late goes to `apart`, or else stays in the step.
    """
    compiled = {name: made.compiled[name] for name in order if name in made.compiled}
    paths = [compiled[name] if name in compiled else made.found[name].path for name in order]
    files = tuple((path, *made.stats[path]) for path in paths if path)
    rest = [name for name in order if name not in compiled and name != IMAGE]
    modules = {name: _module(made.found[name], splits, name, apart) for name in rest}
    return files, compiled, tuple(name for name in order if name != IMAGE), modules


def _module(
    source: ModuleSource, splits: Mapping[str, Split], name: str, apart: list[bytes] | None
) -> Module:
    parts = splits[name]
    imports = _divide(parts.imports, splits, is_late=False)
    others = _divide(parts.imports, splits, is_late=True)
    late: Mapping[str, bytes] | Place = parts.late
    if apart is not None and late:
        piece = marshal.dumps(parts.late)
        late = sum(map(len, apart)), len(piece), _hash(piece)
        apart.append(piece)
    return parts.code, source.path, source.is_package, parts.builtins, imports, others, late


def _divide(
    imports: Iterable[Import], splits: Mapping[str, Split], *, is_late: bool
) -> tuple[Import, ...]:
    """Return imports of what is made late elsewhere, or of what is there at once."""
    found = []
    for module, names, bound in imports:
        pairs = [
            (there, here)
            for there, here in zip(names, bound, strict=True)
            if _is_late(module, there, splits) == is_late
        ]
        if pairs:
            there, here = zip(*pairs, strict=True)
            found.append((module, there, there if there == here else here))
    return tuple(found)


def _is_late(module: str, name: str, splits: Mapping[str, Split]) -> bool:
    """Return whether a module has a name only when it is asked for, of its own or by an import."""
    if module not in splits:
        return False
    if name in splits[module].late:
        return True
    return any(
        _is_late(home, names[bound.index(name)], splits)
        for home, names, bound in splits[module].imports
        if name in bound
    )


def _places(pieces: Iterable[bytes]) -> Iterator[Place]:
    """Yield where each piece lies behind what is read at each start."""
    begin = 0
    for piece in pieces:
        yield begin, len(piece), _hash(piece)
        begin += len(piece)


def _render(
    own: CodeType, stats: tuple[int, int], parts: Parts, apart: bytes, pieces: Iterable[bytes]
) -> bytes:
    """Return the bytes that `start_image` describes."""
    size, seconds = stats
    head = b"".join((n & 0xFFFFFFFF).to_bytes(4, "little") for n in (0, seconds, size))  # PEP 552
    code = marshal.dumps(own.replace(co_consts=(*own.co_consts, parts)))
    body = external.MAGIC_NUMBER + head + code
    lengths = (len(body) + len(apart)).to_bytes(8) + len(body).to_bytes(8)
    return b"".join((body, apart, *pieces, lengths, _hash(body)))


def _hash(data: bytes) -> bytes:
    return _imp.source_hash(KEY, data)
