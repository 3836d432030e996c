"""`brokerctl helper import`: what is shown and asked, and what is said afterwards. No values."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from brokerctl import wire
from brokerctl.effects.terminal import confirm, is_interactive
from brokerctl.errors import UsageError
from brokerctl.helpers.importing import carry_out, plan_import
from brokerctl.text import safe

if TYPE_CHECKING:
    from brokerctl.helpers.importing import Source


def run(what: str, *, is_cut: bool, yes: bool) -> None:
    """Show, ask, keep, cut out."""
    house = wire.open_house(os.environ)
    sources = plan_import(house, what)
    for source in sources:
        _show(source, is_cut=is_cut)
    moving = [source for source in sources if source.moving]
    if moving and not yes and not is_interactive():
        raise UsageError("there is nobody to ask", hint="say --yes")
    if moving and not yes and not confirm("do this?"):
        raise UsageError("stopped: nothing was changed", hint="answer y, or say --yes")
    for source in reversed(moving):  # the newest is answered first, as the first file was
        carry_out(house, source, is_cut=is_cut)
        removed = f", and removed from {safe(source.path, 1000)}" if is_cut else ""
        typer.echo(f"{what}: {len(source.moving)} kept{removed}")
    if not moving:
        typer.echo(f"{what}: nothing to keep")


def _show(source: Source, *, is_cut: bool) -> None:
    doing = "keep and remove" if is_cut else "keep"
    lines = [f"  {doing}: {one.shown}" for one in source.moving]
    lines += [f"  leave: {one.shown}: {one.why}" for one in source.left]
    lines += [f"  {note}" for note in source.notes]
    for line in (f"{source.path}:", *lines):
        typer.echo(safe(line, 1000), err=True)
