"""The help of one command as people read it: what is written, without the types of Python."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable

_TYPE = re.compile(r"^(  \S+) <[a-z\[\]]+>", re.MULTILINE)  # of an argument: `  NAME <str>  …`
_BRACES = re.compile(r"\{([A-Z|]+)\}")  # around an argument that is required
_RANGE = re.compile(r"  \[(?:(.*); )?\d*<?=?x[<>]=?\d+\]$", re.MULTILINE)


def tidy(text: str) -> str:
    """Return help without braces, types and ranges that no line of a shell has."""
    text = _BRACES.sub(r"\1", _TYPE.sub(r"\1", text)).replace("  [required]", "")
    return _RANGE.sub(lambda found: f"  [{found[1]}]" if found[1] else "", text)


class Command(TyperCommand):
    """A command whose help is tidied."""

    def get_help(self, ctx: Any) -> str:  # noqa: ANN401 - a context of what Typer vendors
        """Return the help."""
        return tidy(super().get_help(ctx))


class Group(TyperGroup):
    """The program, or a group of it; `order` says how its commands are listed."""

    order: tuple[str, ...] = ()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - as above
        """Return the names in their order; Typer would put groups last."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: self.order.index(name) if name in self.order else -1)


class App(typer.Typer):
    """A Typer program whose commands are ours."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:  # noqa: ANN401 - Typer's own
        """Add a command."""
        return super().command(name, **{"cls": Command, **settings})
