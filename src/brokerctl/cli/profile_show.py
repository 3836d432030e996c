"""What `brokerctl profile show` prints: values in force, or whose a URL is and what came near."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.compile import Compiled
    from brokerctl.model import Profile


def show_match(profiles: Mapping[str, Profile], url: str, *, json: bool) -> None:
    """Answer as `get --for` does: a URL of no profile, or of two, is a UsageError."""
    from brokerctl import jsonlite, wire
    from brokerctl.config.hosts import match_profile
    from brokerctl.config.show import explain

    near = explain(url, profiles.values())
    is_covered = bool(near) and near[0].rank is not None
    if json:
        name = match_profile(url, profiles) if is_covered else None
        rows = [{"name": one.profile, "host": one.host, "why": one.why} for one in near]
        answer = {"schema": 1, "url": url, "profile": name, "hosts": rows}
        typer.echo(jsonlite.dumps(answer))
        return
    lines = [f"{one.profile}: {one.host}: {one.why}" for one in near]
    if not is_covered:
        for line in lines:
            wire.note(line)
    match_profile(url, profiles)
    for line in lines:
        typer.echo(line)


def show_values(compiled: Compiled, name: str, *, json: bool) -> None:
    """Print each value, and where it came from."""
    from brokerctl import jsonlite
    from brokerctl.config import show
    from brokerctl.text import safe

    lines = show.show_profile(compiled, name)
    if json:
        values = {
            line.key: {"value": line.plain, "origin": line.origin, "place": line.place}
            for line in lines
        }
        typer.echo(jsonlite.dumps({"schema": 1, "profile": name, "values": values}))
        return
    for line in lines:
        place = f" ({safe(_short(line.place))})" if line.place else ""
        typer.echo(f"{line.key} = {safe(line.toml, 1000)}  # {line.origin}{place}")


def _short(place: str) -> str:
    home = os.environ.get("HOME", "").rstrip("/")
    return f"~{place[len(home) :]}" if home and place.startswith(f"{home}/") else place
