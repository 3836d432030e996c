"""Checks the configuration: its layers, and a project file that is not trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import read_layers
from brokerctl.config.trust import find_pinned
from brokerctl.doctor import WARNING, Finding
from brokerctl.errors import shell_word
from brokerctl.platform.system import os

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def check(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Compile the layers as a command would; UsageError with file and line if one is wrong."""
    layers = read_layers(environ, _folder())
    plan = compile_layers(layers, environ)
    found = [layer.path for layer in layers.files if layer.content is not None]
    where = ", ".join(found) or "no file"
    if plan.profiles:
        count = len(plan.profiles)
        yield Finding(what=f"configuration: {count} profile{'s' * (count > 1)} from {where}")
    else:
        yield Finding(
            what=f"configuration: no profiles yet ({where})",
            state=WARNING,
            hint="run 'brokerctl profile add NAME'",
        )
    if layers.notice:
        yield Finding(what=layers.notice, state=WARNING, hint="run 'brokerctl trust'")
    for folder, state in find_pinned(environ):
        if state != "trusted":
            yield Finding(
                what=f"the trusted project file in {folder} is {state}",
                state=WARNING,
                hint=f"run 'brokerctl trust {shell_word(folder)}'",
            )


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
