"""A hint is a command that people paste: no name in it can add a command of its own."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.source import Source, sources

# A command stands between single quotes: its first word, then words with holes where names go.
COMMAND = re.compile(r"(?:run '|'(?:brokerctl|chmod|chown|git|kill|kubectl|rm|unset) )[^']*'")
# What stands there and is never anybody's name: numbers, Typer's own words, words joined before.
OURS = {"mode", "pid", "command", "called", "options", "whose"}
HOLE = re.compile(r"\x00(\d+)\x00")


def commands(node: ast.JoinedStr) -> list[ast.expr]:
    """Return the expressions that stand inside a quoted command of an f-string."""
    pieces = [
        str(part.value) if isinstance(part, ast.Constant) else f"\x00{number}\x00"
        for number, part in enumerate(node.values)
    ]
    found = [int(n) for text in COMMAND.findall("".join(pieces)) for n in HOLE.findall(text)]
    parts = [node.values[number] for number in found]
    return [part.value for part in parts if isinstance(part, ast.FormattedValue)]


def is_word(node: ast.expr) -> bool:
    """Return whether an expression can only be one word: quoted for a shell, or our constant."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "shell_word"
    if isinstance(node, ast.IfExp):
        return is_word(node.body) and is_word(node.orelse)
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.Name) and (node.id.isupper() or node.id in OURS)
    )


@pytest.mark.parametrize("source", sources("src/brokerctl"), ids=lambda source: source.path)
def test_each_name_in_a_command_is_a_shell_word(source: Source) -> None:
    """Whatever stands in a command that we print passes through `shell_word`."""
    bare = [
        f"line {node.lineno}: {ast.unparse(expression)}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.JoinedStr)
        for expression in commands(node)
        if not is_word(expression)
    ]
    assert not bare
