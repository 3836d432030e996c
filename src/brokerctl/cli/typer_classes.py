"""Our subclasses of Typer's: their help is tidied, and text values skip pydantic."""

from __future__ import annotations

import functools
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
    """Return help without Typer's braces, types and open ranges, which nobody types."""
    text = _BRACES.sub(r"\1", _TYPE.sub(r"\1", text)).replace("  [required]", "")
    return _RANGE.sub(lambda found: f"  [{found[1]}]" if found[1] else "", text)


class _Words:
    """Returns text values as they were typed, and leaves other types to Typer.

    Typer gives every value to pydantic, whose import takes longer than most commands; it returns
    text unchanged.
    """

    def __init__(self, param: Any) -> None:  # noqa: ANN401 - of what Typer vendors
        self._make_typers = type(param).get_runtime_param
        self._is_text = param.type_descriptor.annotation in (str, list[str])

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Return the value for the command's parameter."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        given = value if several else (value,)
        if self._is_text and all(isinstance(word, str) for word in given):
            return list(given) if several else value
        return self._make_typers(param).coerce(value, param, ctx)


def _take_words(params: list[Any]) -> list[Any]:
    for param in params:
        param.get_runtime_param = functools.partial(_Words, param)
    return params


class Command(TyperCommand):
    """A command whose help is tidied."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - a context of what Typer vendors
        """Return the options and arguments, `--help` with them."""
        return _take_words(super().get_params(ctx))

    def get_help(self, ctx: Any) -> str:  # noqa: ANN401 - a context of what Typer vendors
        """Return the help."""
        return tidy(super().get_help(ctx))


class Group(TyperGroup):
    """The program, or a group of it; `order` says how its commands are listed."""

    order: tuple[str, ...] = ()

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - as above
        """Return the options, `--help` with them."""
        return _take_words(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - as above
        """Return the names in their order; Typer would put groups last."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: self.order.index(name) if name in self.order else -1)


class App(typer.Typer):
    """A Typer program whose commands are ours."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:  # noqa: ANN401 - Typer's own
        """Add a command."""
        return super().command(name, **{"cls": Command, **settings})
