"""Pins project files: the digest of each, by its folder, in a file that no project can write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl import jsonlite
from brokerctl.config import paths
from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, digest, read_layers, read_project, read_trust
from brokerctl.errors import UsageError
from brokerctl.platform.private_files import open_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.platform.private_files import Folder


def find_candidate(folder: str, environ: Mapping[str, str]) -> Layer:
    """Return a folder's project file as it is now; UsageError if it could not be used.

    It is compiled on top of the user's own layers first, so that what is trusted also works.
    """
    path = f"{_real(folder).rstrip('/')}/{paths.PROJECT_FILE}"
    content = read_project(path)
    if content is None:
        raise UsageError(f"there is no {path}", hint="name the folder that has one")
    layers = read_layers(environ, None)
    project = Layer(label="project", path=path, content=content)
    compile_layers(layers.replace(files=(*layers.files, project)), environ)
    return project


def pin(project: Layer, environ: Mapping[str, str]) -> None:
    """Trust a project file for as long as its content is the one that was read."""
    folder = os.path.dirname(project.path)
    _write(environ, read_trust(environ) | {folder: digest(project.content or b"")})


def unpin(folder: str, environ: Mapping[str, str]) -> str:
    """Stop trusting a folder and return it; UsageError if it was not trusted."""
    real = _real(folder)
    trusted = read_trust(environ)
    if trusted.pop(real, None) is None:
        raise UsageError(f"{real} is not trusted", hint="run 'brokerctl trust --list'")
    _write(environ, trusted)
    return real


def _real(folder: str) -> str:
    try:
        return os.path.realpath(folder)
    except OSError as error:
        raise UsageError("the working folder is gone") from error


def find_pinned(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (folder, state) of every pin: trusted, changed or missing."""
    return [(folder, _state(folder, pinned)) for folder, pinned in read_trust(environ).items()]


def _state(folder: str, pinned: str) -> str:
    try:
        content = read_project(f"{folder.rstrip('/')}/{paths.PROJECT_FILE}")
    except UsageError:
        return "changed"
    if content is None:
        return "missing"
    return "trusted" if digest(content) == pinned else "changed"


def _write(environ: Mapping[str, str], trusted: dict[str, str]) -> None:
    folder = _state_folder(environ)
    try:
        data = jsonlite.dumps({"v": 1, "trusted": trusted}, sort=True)
        folder.write(os.path.basename(paths.trust_file(environ)), data.encode() + b"\n")
    finally:
        folder.close()


def _state_folder(environ: Mapping[str, str]) -> Folder:
    folder = open_folder(os.path.dirname(paths.trust_file(environ)))
    if folder is None:  # pragma: no cover - it is made if missing
        raise UsageError("the state folder can't be opened")
    return folder
