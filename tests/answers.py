"""What `--json` prints: the page with the examples, the schema, and which definition is whose."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from tests.house.source import read

if TYPE_CHECKING:
    from tests.schema import Schema

PAGE, SCHEMA = "docs/json.md", "docs/json.schema.json"
_EXAMPLE = re.compile(r"^```json ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KINDS = (
    "--list",
    "--remove",
    "--for",
    "--ci",
)  # each has an answer of its own, where there is one


def read_examples() -> dict[str, str]:
    """Return the page's examples by the command that prints them; `error` is the failure."""
    return dict(_EXAMPLE.findall(read(PAGE)))


@functools.cache
def read_document() -> dict[str, Any]:
    """Return the schema as it lies in docs/."""
    document: dict[str, Any] = json.loads(read(SCHEMA))
    return document


def definition_of(command: str) -> str:
    """Return the name of the definition of a command's answer, whatever its options."""
    words = command.split()
    known, group = read_document()["$defs"], "-".join(words[:2])
    base = group if group in known else words[0]
    kinds = (f"{base}-{word[2:]}" for word in words if word in _KINDS)
    return next((kind for kind in kinds if kind in known), base)


def find_faults(schema: Schema, command: str, answer: object) -> list[str]:
    """Return what is wrong with an answer, held against its definition and the whole schema."""
    return [*schema.faults(answer, definition_of(command)), *schema.faults(answer)]
