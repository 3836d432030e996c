"""The files that `policy check` and `policy test` look at: those in force, or those named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl.config import paths
from brokerctl.config.compile import compile_layers, compile_sources, read_layer
from brokerctl.config.layers import Layer, Layers, read_layers
from brokerctl.config.source import parse_layer
from brokerctl.policy.cases import read_file
from brokerctl.policy.check import Checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.plan import Plan
    from brokerctl.model import Profile
    from brokerctl.policy.cases import CaseFile


def read_in_force(environ: Mapping[str, str]) -> tuple[list[Checked], Mapping[str, Profile]]:
    """Return each file in force, and the profiles; UsageError with its place for a broken one."""
    layers = find_layers(environ)
    return _checked(layers), compile_layers(layers, environ).profiles


def read_named(
    names: list[str], environ: Mapping[str, str]
) -> tuple[list[Checked], Mapping[str, Profile]]:
    """Return the files that are named, each read as the user's; UsageError as above.

    A project's file is read on top of the layers in force. The profiles are theirs and those of
    all the files, so that a policy can stand in a file of its own.
    """
    base = read_layers(environ, None)
    profiles = dict(compile_layers(base, environ).profiles)
    found: list[Checked] = []
    for name in names:
        is_project = os.path.basename(name) == paths.PROJECT_FILE
        layer = Layer(label="project" if is_project else "user", path=name, content=read_file(name))
        files = (*base.files, layer) if is_project else (layer,)
        profiles |= compile_layers(base.replace(files=files), environ).profiles
        found += _checked(Layers(files=(layer,)))
    return found, profiles


def read_plan_of(cases: CaseFile, environ: Mapping[str, str]) -> Plan:
    """Return the plan that cases are decided by: the layers in force, or those that they name.

    Where the file has profiles of its own, they are all that there are.
    """
    layers = cases.layers or find_layers(environ)
    plan = compile_layers(layers.replace(home=paths.home_folder(environ)), environ)
    if cases.profiles is None:
        return plan
    own = compile_sources([cases.profiles], environ).plan.profiles
    return plan.replace(profiles=own, narrowed_scopes={})


def find_layers(environ: Mapping[str, str]) -> Layers:
    """Return the layers in force in the working folder."""
    try:
        folder: str | None = os.getcwd()
    except OSError:
        folder = None
    return read_layers(environ, folder)


def _checked(layers: Layers) -> list[Checked]:
    sources = [parse_layer(layer) for layer in layers.files]
    return [
        Checked(source=source, layer=read_layer(source)) for source in sources if source is not None
    ]
