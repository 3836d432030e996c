"""Replaces the user's configuration file: under a lock, checked first, in one rename."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, read_layers
from brokerctl.config.replacing import WAIT_S, locked_folder, replace_file
from brokerctl.config.source import parse_layer
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.config.layers import Layers


def change_user_file(
    environ: Mapping[str, str], edit: Callable[[str], str], wait_s: float = WAIT_S
) -> str:
    """Apply an edit to the user's file and return its path; nothing is changed on any error."""
    path = os.path.realpath(read_layers(environ, None).get_layer("user").path)
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        with locked_folder(folder, wait_s):
            layers = read_layers(
                environ, None
            )  # again: it may have changed before we held the lock
            user = layers.get_layer("user")
            before = user.content or b""
            after = edit(_decoded(user)).encode()
            if after == before:
                return user.path
            changed = Layer(label="user", path=user.path, content=after)
            files = tuple(changed if layer.label == "user" else layer for layer in layers.files)
            _check(layers, layers.replace(files=files), environ)
            replace_file(path, after)
            return user.path
    except RecursionError:
        raise UsageError(f"{path} is nested too deep to change", hint="edit it by hand") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"can't change {path}: {reason}") from error


def _check(before: Layers, after: Layers, environ: Mapping[str, str]) -> None:
    """Compile an edit; its own mistake is told without a place, since that text is never saved."""
    try:
        compile_layers(after, environ)
    except UsageError as error:
        compile_layers(before, environ)  # a mistake that was there already has its place
        place, _, message = error.message.partition(": ")
        is_user = place.startswith(after.get_layer("user").path)
        raise UsageError(message if is_user else error.message, hint=error.hint) from None


def _decoded(layer: Layer) -> str:
    """Return a file's text once it is known to be valid; the error says what isn't."""
    source = parse_layer(layer)
    return "" if source is None else source.text
