"""What a tree of Python files is made of: rooms, imports, circles, sizes, read from its syntax.

A room is a folder or a module directly in the package, a circle is a set of files that import one
another, and each import counts, wherever it stands. Importing a module is no import of its folder's
`__init__.py`. A file that a table names by a dotted string is an entry, which is no import.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.rooms_picture import floors_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = "brokerctl"
SMALL = 80  # lines; a file below that needs more than one importer, or a reason
LOADERS = {"__import__", "import_module", "load", "_load"}  # their first word is an import too

Files = dict[str, str]  # a module's dotted name to its text
Graph = dict[str, set[str]]  # each file, and the files that it imports


class Import(NamedTuple):
    """One import of another file of ours."""

    importer: str
    imported: str
    types_only: bool


class House:
    """All files of one revision, and what they import."""

    def __init__(self, files: Files, settings: str = "") -> None:
        self.files = files
        self.floors = floors_of(settings, PACKAGE)
        self.trees = {name: ast.parse(text, name) for name, text in files.items()}
        self.imports = {
            found for name, tree in self.trees.items() for found in imports_of(name, tree, files)
        }
        self.entries = {
            module for tree in self.trees.values() for module in entries_of(tree) & files.keys()
        }
        self.folders = {name.rpartition(".")[0] for name in files}

    def graph(self, *, types: bool = True) -> Graph:
        """Return which file imports which; without `types` only those that are run."""
        graph: Graph = {name: set() for name in self.files}
        for one in self.imports:
            if types or not one.types_only:
                graph[one.importer].add(one.imported)
        return graph

    def importers(self, *, types: bool = True) -> Graph:
        """Return by which files each is imported."""
        graph: Graph = {name: set() for name in self.files}
        for importer, found in self.graph(types=types).items():
            for imported in found:
                graph[imported].add(importer)
        return graph

    def lines(self, name: str) -> int:
        """Return how many lines a file has."""
        return len(self.files[name].splitlines())

    def path(self, name: str) -> str:
        """Return the file's path in the package."""
        parts = name.split(".")[1:]
        return "/".join([*parts, "__init__"] if name in self.folders else parts) + ".py"

    def room(self, name: str) -> str:
        """Return the room of a file: `store/` for a folder, `model` for a module at the top."""
        parts = name.split(".")
        if len(parts) == 1:
            return "__init__"
        return f"{parts[1]}/" if ".".join(parts[:2]) in self.folders else parts[1]

    def rooms(self) -> dict[str, list[str]]:
        """Return every room with its files."""
        found: dict[str, list[str]] = {}
        for name in sorted(self.files):
            found.setdefault(self.room(name), []).append(name)
        return found

    def arrows(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return for two rooms how many imports lead from one to the other: run, and for types."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        graph = self.graph(types=False)
        for importer, imported in {(one.importer, one.imported) for one in self.imports}:
            rooms = self.room(importer), self.room(imported)
            if rooms[0] != rooms[1]:
                run, types = found.get(rooms, (0, 0))
                real = imported in graph[importer]
                found[rooms] = (run + real, types + (not real))
        return found

    def upward(self) -> list[tuple[str, str]]:
        """Return the arrows that lead up, or beside through a wall, by pyproject.toml's layers."""
        at = {
            room.rstrip("/"): (floor, flat)
            for floor, flats in enumerate(self.floors)
            for flat, rooms in enumerate(flats)
            for room in rooms
        }
        found = []
        for one, other in sorted(self.arrows()):
            here, there = at.get(one.rstrip("/")), at.get(other.rstrip("/"))
            if here and there and (there[0] < here[0] or (there[0] == here[0] and there != here)):
                found.append((one, other))
        return found


def imports_of(name: str, tree: ast.Module, files: Files) -> Iterator[Import]:
    """Yield what a file imports of ours: at its top, for types, in functions, by a loader."""
    typing = {
        id(inner)
        for block in ast.walk(tree)
        if is_for_types(block)
        for statement in block.body  # type: ignore[attr-defined]  # is_for_types says it is an If
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        for target in sorted(targets(node, files)):
            if target != name:
                yield Import(name, target, id(node) in typing)
    for target in sorted(doors_of(tree) & files.keys()):
        yield Import(name, target, types_only=False)


def doors_of(tree: ast.Module) -> set[str]:
    """Return what a file imports by `__import__(f"brokerctl.{DOORS[word]}")`: a table's values."""
    loads = {
        call.args[0].values[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and call.args
        and isinstance(call.args[0], ast.JoinedStr)
        and isinstance(call.args[0].values[0], ast.Constant)
        and ast.unparse(call.func) in LOADERS
    }
    return {f"{prefix!s}{name}" for prefix in loads for name in entries_of(tree)}


def targets(node: ast.AST, files: Files) -> set[str]:
    """Return the files that one import names."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & files.keys()
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        named = {f"{node.module}.{alias.name}" for alias in node.names}
        # What is no module of the folder stands in the folder's own file.
        inner = {node.module} if named - files.keys() else set()
        return (named | inner) & files.keys()
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in LOADERS and isinstance(node.args[0].value, str):
            return {node.args[0].value.partition(":")[0]} & files.keys()
    return set()


def is_for_types(node: ast.AST) -> bool:
    """Return whether a node is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def entries_of(tree: ast.Module) -> set[str]:
    """Return the modules that the tables of a file name: `package.module:name` in a display."""
    return {
        inner.value.partition(":")[0]
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value
        for inner in ast.walk(node.value)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    }


def head_lines(body: Iterable[ast.stmt]) -> set[int]:
    """Return the lines of the imports outside functions, with all of an `if TYPE_CHECKING:`."""
    lines: set[int] = set()
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            lines.update(range(node.lineno, (node.end_lineno or 0) + 1))
        elif isinstance(node, ast.If):
            if is_for_types(node):
                lines.update(range(node.lineno, (node.body[-1].end_lineno or 0) + 1))
            lines |= head_lines(node.body) | head_lines(node.orelse)
        elif isinstance(node, ast.Try):
            lines |= head_lines(node.body) | head_lines(node.orelse) | head_lines(node.finalbody)
            for handler in node.handlers:
                lines |= head_lines(handler.body)
        elif isinstance(node, ast.Assign) and ast.unparse(node) == "TYPE_CHECKING = False":
            lines.add(node.lineno)
    return lines


def circles(graph: Graph) -> list[list[str]]:
    """Return the sets of files that reach one another, the largest first."""
    reached = {name: reach(graph, name) for name in graph}
    found = {
        tuple(sorted(other for other in reached[name] if name in reached[other])) for name in graph
    }
    return sorted((list(one) for one in found if len(one) > 1), key=lambda one: (-len(one), one))


def reach(graph: Graph, start: str) -> set[str]:
    """Return what can be reached from a file, itself only if a way leads back to it."""
    seen: set[str] = set()
    todo = list(graph[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += graph[name]
    return seen


def function_sizes(house: House) -> list[tuple[int, str]]:
    """Return every function with its lines, docstring included, the shortest first."""
    return sorted(
        ((node.end_lineno or 0) - node.lineno + 1, f"{house.path(name)}:{node.name}")
        for name, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def shared_class_names(house: House) -> dict[str, list[str]]:
    """Return the public names of classes that stand in more than one file, with the files."""
    found: dict[str, list[str]] = {}
    for name, tree in sorted(house.trees.items()):
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(house.path(name))
    return {name: paths for name, paths in sorted(found.items()) if len(paths) > 1}


def small_files(house: House) -> dict[str, dict[str, Any]]:
    """Return each small file with one importer: its lines, the importer, and what excuses it."""
    found = {}
    for name, importers in sorted(house.importers().items()):
        if len(importers) == 1 and house.lines(name) < SMALL:
            excuse = "entry of a table" if name in house.entries else ""
            excuse = "front of its folder" if name in house.folders else excuse
            importer = house.path(min(importers))
            found[house.path(name)] = {
                "lines": house.lines(name),
                "importer": importer,
                "excuse": excuse,
            }
    return found


def measure(house: House) -> dict[str, Any]:
    """Return all figures of a house."""
    lines = sum(house.lines(name) for name in house.files)
    heads = sum(len(head_lines(tree.body)) for tree in house.trees.values())
    sizes = function_sizes(house)
    rooms, small = house.rooms(), small_files(house)
    return {
        "files": len(house.files),
        "lines": lines,
        "median_lines_of_a_file": sorted(map(house.lines, house.files))[len(house.files) // 2],
        "files_with_one_importer": single(house.importers()),
        "files_with_one_importer_types_not_counted": single(house.importers(types=False)),
        "small_files_with_one_importer": small,
        "small_files_without_an_excuse": [path for path, one in small.items() if not one["excuse"]],
        "lines_in_import_heads": heads,
        "percent_in_import_heads": round(100 * heads / lines, 1),
        "imports_inside_functions": inner_imports(house),
        "circles_of_files": [
            [house.path(one) for one in circle] for circle in circles(house.graph())
        ],
        "circles_of_files_types_not_counted": [
            [house.path(one) for one in circle] for circle in circles(house.graph(types=False))
        ],
        "rooms": {room: len(names) for room, names in rooms.items()},
        "top_level_modules": [room for room in rooms if not room.endswith("/")],
        "arrows_between_rooms": {
            f"{one} → {other}": list(count)
            for (one, other), count in sorted(house.arrows().items())
        },
        "arrows_up_or_beside": [f"{one} → {other}" for one, other in house.upward()],
        "functions": len(sizes),
        "median_function": at_share(sizes, 0.5)[0],
        "function_at_90_percent": at_share(sizes, 0.9)[0],
        "function_at_99_percent": at_share(sizes, 0.99)[0],
        "greatest_function": list(sizes[-1]),
        "class_names_in_more_than_one_file": shared_class_names(house),
    }


def single(importers: Graph) -> int:
    """Return how many files have one importer."""
    return sum(len(found) == 1 for found in importers.values())


def inner_imports(house: House) -> int:
    """Return how many import statements stand inside functions."""
    found = {
        (name, inner.lineno)
        for name, tree in house.trees.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(function)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }
    return len(found)


def at_share(sizes: list[tuple[int, str]], share: float) -> tuple[int, str]:
    """Return the element below or at which this share of a sorted list lies (nearest rank)."""
    return sizes[max(0, -int(-share * len(sizes) // 1) - 1)]
