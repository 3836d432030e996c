"""What a start-up image has of a module: the code that is run at each start, and what is made late.

A hand-out calls fewer than half of the functions that its modules have, and makes a class in a
tenth of a millisecond. What none needs is left out of a module's code, and made where its name is
first asked for (`start_image`). `warm_names` lists what is needed: that the list is out of date
costs time, and changes no answer.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import marshal
from types import CodeType
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.platform.image_sources import Sources, is_ours
from brokerctl.platform.warm_names import WARM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from brokerctl.platform.image_sources import ModuleSource

    # Names that one of our modules has of another: of which, there, and here.
    Import = tuple[str, tuple[str, ...], tuple[str, ...]]
    # What is made where it is first asked for: its code, Python's own names in it, and a function's
    # defaults by place and by name. A class's code is run, and binds it.
    Late = tuple[CodeType, tuple[str, ...], tuple[object, ...] | None, dict[str, object] | None]

_POSTPONED = __future__.annotations.compiler_flag  # as in all of our sources
_BUILTINS = frozenset(name for name in vars(builtins) if not name.startswith("_"))
_IS_FUNCTION = 2  # in a code object's flags: CO_NEWLOCALS
LATE_METHOD = "__late__"  # what stands in a class for a method, by the method's name


class Split(NamedTuple):
    """The parts of a module."""

    code: CodeType
    builtins: tuple[str, ...]  # which of Python's own names that code uses
    imports: tuple[Import, ...]  # done beforehand
    late: dict[str, bytes]  # what else it has, by qualified names: each a `Late`, marshalled


def split_module(
    name: str, source: ModuleSource, names: Mapping[str, tuple[str, ...]] = WARM
) -> Split:
    """Take a module apart; `names`: see `warm_names`."""
    if not is_ours(name):
        return keep(source)
    return split(source, frozenset(names[name]) if name in names else None)


def split_again(packages: str, path: str) -> dict[str, bytes]:
    """Return what of a module is made late, as the image had it before it was damaged."""
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return split_module(name, Sources(packages).read(name)).late


def split(source: ModuleSource, warm: frozenset[str] | None = None) -> Split:
    """Take a module apart; its tree is changed.

    `warm`: the qualified names of what is run at each start; None if that is not known, and all
    functions are kept.
    """
    body, path = source.tree.body, source.path
    bound = list(_bound(body))
    late: dict[str, Late] = {}
    imports: list[Import] = []
    kept: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.ImportFrom) and _is_early(node):
            imports.append(_as_import(node))
        elif (
            isinstance(node, ast.ClassDef | ast.FunctionDef)
            and _is_late(node, warm)
            and bound.count(node.name) == 1
            and node.name not in _BUILTINS
        ):
            late[node.name] = _late(node, path)
        else:
            if isinstance(node, ast.ClassDef) and warm is not None:
                late |= _take_methods(node, path, warm)
            kept.append(node)
    code = compile_body(kept, path)
    pieces = {name: marshal.dumps(one) for name, one in late.items()}  # type: ignore[arg-type]  # constants
    return Split(code, builtin_names([code]), tuple(imports), pieces)


def keep(source: ModuleSource) -> Split:
    """Return a module as it is."""
    code = compile_body(source.tree.body, source.path)
    return Split(code, builtin_names([code]), (), {})


def _is_early(node: ast.ImportFrom) -> bool:
    """Return whether an import can be done before the module is run, by a table."""
    names = {one.asname or one.name for one in node.names}
    return is_ours(node.module or "") and not names & _BUILTINS


def _as_import(node: ast.ImportFrom) -> Import:
    names = tuple(one.name for one in node.names)
    bound = tuple(one.asname or one.name for one in node.names)
    return str(node.module), names, names if bound == names else bound


def _is_late(node: ast.ClassDef | ast.FunctionDef, warm: frozenset[str] | None) -> bool:
    """Return whether no start needs this, and it can be made later."""
    if isinstance(node, ast.ClassDef):
        return node.name not in (warm or ())
    return warm is not None and node.name not in warm and _is_plain(node)


def _is_plain(node: ast.FunctionDef) -> bool:
    """Return whether all that a function is can be told from its code and some constants."""
    if node.decorator_list or node.name.startswith("__"):
        return False
    try:
        _defaults(node)
    except ValueError:
        return False
    return True


def _defaults(node: ast.FunctionDef) -> tuple[tuple[object, ...] | None, dict[str, object] | None]:
    """Return the defaults of a function as it has them; ValueError if they are no constants."""
    named = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    by_place = tuple(ast.literal_eval(one) for one in node.args.defaults)
    by_name = {arg.arg: ast.literal_eval(one) for arg, one in named if one is not None}
    return by_place or None, by_name or None


def _take_methods(owner: ast.ClassDef, path: str, warm: frozenset[str]) -> dict[str, Late]:
    """Take methods out of a class that no start calls, and put something in their places."""
    late: dict[str, Late] = {}
    bound = list(_bound(owner.body))
    used = {name for node in owner.body for name in _used(node)}
    for index, node in enumerate(owner.body):
        if not isinstance(node, ast.FunctionDef) or not _is_plain(node) or node.name in used:
            continue
        name = f"{owner.name}.{node.name}"
        made = _late(node, path, owner.name)
        # One that has no use for its class, as `super()` has, and is there once.
        if name not in warm and not made[0].co_freevars and bound.count(node.name) == 1:
            late[name] = made
            place = ast.parse(f"{node.name} = {LATE_METHOD}({node.name!r})").body[0]
            for one in ast.walk(place):
                ast.copy_location(one, node)
            owner.body[index] = place
    return late


def _used(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement of a class uses when the class is made."""
    parts: list[ast.AST | None] = [node]
    if isinstance(node, ast.FunctionDef):
        parts = [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
    for part in filter(None, parts):
        yield from (one.id for one in ast.walk(part) if isinstance(one, ast.Name))


def _late(node: ast.ClassDef | ast.FunctionDef, path: str, owner: str | None = None) -> Late:
    """Return a class or function as an image has it; `owner`: the class that it is a method of."""
    if isinstance(node, ast.ClassDef):
        code = compile_body([node], path)
        return code, builtin_names([code]), None, None
    code = compile_body([node if owner is None else _class_of(owner, node)], path)
    while not code.co_flags & _IS_FUNCTION:
        code = next(one for one in code.co_consts if isinstance(one, CodeType))
    return code, builtin_names([code]), *_defaults(node)


def _class_of(name: str, method: ast.FunctionDef) -> ast.stmt:
    """Return a class with nothing but one method, which gets its qualified name of it."""
    made = ast.parse(f"class {name}: pass").body[0]
    vars(made)["body"] = [method]
    return made


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that a module's lines bind, those in functions not being its own."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
            yield from (
                name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names
            )
            continue
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                yield one.id
            elif isinstance(one, ast.alias):
                yield one.asname or one.name.partition(".")[0]
            elif isinstance(one, ast.ClassDef | ast.FunctionDef):
                yield one.name


def compile_body(body: list[ast.stmt], path: str) -> CodeType:
    """Return the code of some statements of a module."""
    module = ast.Module(body=body, type_ignores=[])
    code: CodeType = compile(module, path, "exec", flags=_POSTPONED, dont_inherit=True)
    return code


def builtin_names(codes: Iterable[CodeType]) -> tuple[str, ...]:
    """Return which of Python's own names are used in some code, and in what is in it."""
    names: set[str] = set()
    for code in codes:
        names |= _BUILTINS.intersection(code.co_names)
        names.update(builtin_names(one for one in code.co_consts if isinstance(one, CodeType)))
    return tuple(sorted(names))
