"""The protocol without I/O: generators that yield steps and are sent the result of each."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(dotted: str) -> Any:  # noqa: ANN401 - each table says what its entries are
    """Return what a table's entry (`package.module:name`) names: tables cost no imports."""
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)
