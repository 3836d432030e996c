"""Everything stays small enough to be read at once."""

from __future__ import annotations

import ast

from tests.house.source import read, sources

FUNCTION_LINES = 50
FILE_LINES = 400
LONG_FILE_LINES = 500  # of those whose subject has no place to be cut, which say why
LONG_FILES = {  # path: reason
    "src/brokerctl/home.py": "what every command opens: another module would cost a get",
    "src/brokerctl/model.py": "the words that every room imports: another module would cost a get",
    "src/brokerctl/platform/warm_names.py": "one list, which a test writes",
}
TEST_FILE_LINES = 450  # a list of cases is read one by one
LIMITS = {
    "src/brokerctl/__main__.py": 52,
    "ARCHITECTURE.md": 80,
    "CONTRIBUTING.md": 80,
    "bin/brokerctl": 45,  # a third reads the start-up image, before any module of ours
}
EVERYWHERE = ("src", "tests", "scripts", "benchmarks")


def test_no_file_is_longer_than_it_may_be() -> None:
    """A file has at most 400 lines, a file of tests 450, and 500 with a reason."""
    sizes = {source.path: len(source.text.splitlines()) for source in sources(*EVERYWHERE)}
    assert not {path: lines for path, lines in sizes.items() if lines > allowed(path)}


def allowed(path: str) -> int:
    """Return how many lines a file may have."""
    if path in LONG_FILES:
        return LONG_FILE_LINES
    return TEST_FILE_LINES if path.startswith("tests/") else FILE_LINES


def test_no_function_is_longer_than_it_may_be() -> None:
    """A function has at most 50 lines, its docstring included."""
    sizes = {
        (source.path, node.name): (node.end_lineno or 0) - node.lineno + 1
        for source in sources(*EVERYWHERE)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES}


def test_what_a_newcomer_reads_first_is_short() -> None:
    """The front door and the papers at the root are read in a minute."""
    sizes = {path: len(read(path).splitlines()) for path in LIMITS}
    assert not {path: lines for path, lines in sizes.items() if lines > LIMITS[path]}
