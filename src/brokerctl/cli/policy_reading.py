"""`brokerctl policy who` and `policy diff`: what rules give to whom, and what a change would do."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brokerctl import jsonlite
from brokerctl.cli import options, suggest
from brokerctl.cli.audit import has_room, print_table
from brokerctl.config.compile import compile_layers
from brokerctl.config.duration import render_duration
from brokerctl.config.layers import read_layers
from brokerctl.errors import UsageError
from brokerctl.get import split_scopes
from brokerctl.text import count_of, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.policy.diff import Comparison, DecidedOtherwise

_COLUMNS, _TEXT_CHARS = 80, 1000
_HEADINGS = ("profile", "effect", "may", "subject", "tool", "agent", "ci", "when", "by")
_NONE, _ANY = "none", "any"
_LEFT = ("scopes", "resource", "audience")


def add_commands(policy: typer.Typer) -> None:
    """Add the two commands to the group `policy`."""
    policy.command("who")(who)
    policy.command("diff")(diff)


def who(
    profile: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="Only this profile.", autocompletion=suggest.profiles),
    ] = None,
    scope: options.Scopes = None,
    json: options.Json = False,
) -> None:
    """Show who can issue, use and refresh what, and by which rule.

    All requests that the rules can tell apart are decided; '*' is what no rule names. What is
    held is revoked by its owner, whom no rule keeps from it.

    \b
      brokerctl policy who
      brokerctl policy who --profile gitlab --scope write
    """
    from brokerctl.broker.request import find_profile
    from brokerctl.policy.files import find_layers
    from brokerctl.policy.who import find_access, make_world, render_access

    plan = compile_layers(find_layers(os.environ), os.environ)
    names = [find_profile(plan.profiles, profile).name] if profile else sorted(plan.profiles)
    scopes = split_scopes(scope) if scope else None
    found = []
    for name in names:
        one, layers = plan.profiles[name], plan.policy_of(name)
        access = find_access(one, layers, scopes, plan.narrowed_of(name))
        found.append(render_access(one, access, make_world(one, layers)))
    if json:
        typer.echo(jsonlite.dumps({"schema": 1, "profiles": found}))
    elif has_room():
        print_table(
            _HEADINGS, [_cells(one["profile"], row) for one in found for row in one["access"]]
        )
    else:
        typer.echo("".join(f"{line}\n" for one in found for line in _who_lines(one)), nl=False)


def _who_lines(found: dict[str, Any]) -> Iterator[str]:
    yield safe(f"{found['profile']} ({found['flow']})")
    for row in found["access"]:
        _, effect, may, subject, tool, agent, *told, by = _cells(found["profile"], row)
        named = zip(("subject", "tool", "agent"), (subject, tool, agent), strict=True)
        words = [f"{name} {cell}" for name, cell in named if cell != _ANY]
        who_asks = "; ".join([*words, *(one for one in told if one)]) or "anybody"
        does = f" {may}" if may else ""
        yield from wrapped(f"  {effect + does}: {who_asks}", 6)
        yield from wrapped(f"      {by}", 8)
    yield "  revoke: its owner, by no rule"


def _cells(profile: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (
        profile,
        row["effect"],
        ", ".join(row["may"]),
        *(_any_of(row[name]) for name in ("subject", "tool", "agent")),
        *("; ".join(_facts(row[name])) for name in ("ci", "when")),
        _by(row),
    )


def _facts(found: list[dict[str, Any]]) -> Iterator[str]:
    for one in found:
        yield f"{one['fact']} {_any_of(one['values'])}"


def _any_of(values: list[str | None] | None) -> str:
    return _ANY if values is None else ", ".join(_NONE if one is None else one for one in values)


def _by(decision: dict[str, Any]) -> str:
    """Return the rule with its layer, and what it leaves."""
    left = [f"{name} {' '.join(decision[name])}" for name in _LEFT if decision[name]]
    if decision["max_ttl"] is not None:
        left.append(f"max_ttl {render_duration(int(decision['max_ttl']))}")
    return "; ".join([f"'{decision['rule']}' ({decision['layer']})", *left])


def diff(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="A file with [policy]; '-': what is in force.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same.")],
    layer: Annotated[
        str, typer.Option(metavar="LAYER", help="Whose they are: system, user or project.")
    ] = "user",
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="COUNT", help="The newest so many requests.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show which recorded requests a change would decide otherwise.

    A file stands in the place of one layer; the others are as they are, a project's left out.
    What the record does not say is not guessed.

    \b
      brokerctl policy diff - new.toml
      brokerctl policy diff old.toml new.toml --limit 1000
    """
    from brokerctl.audit.read import iterate_records
    from brokerctl.home import open_home
    from brokerctl.policy.cases import LABELS
    from brokerctl.policy.diff import compare, read_policy_with, render_comparison
    from brokerctl.policy.files import find_layers

    if layer not in LABELS:
        raise UsageError(f"'{layer}' is no layer", hint=f"name one of {', '.join(LABELS)}")
    is_project = layer == LABELS[-1]
    layers = find_layers(os.environ) if is_project else read_layers(os.environ, None)
    before, after = (read_policy_with(layers, layer, one) for one in (old, new))
    profiles = compile_layers(layers, os.environ).profiles
    folder = open_home(os.environ).log.folder
    records = (one.fields for one in iterate_records(folder) if one.fields is not None)
    found = compare(records, profiles, before, after, limit)
    if json:
        typer.echo(jsonlite.dumps(render_comparison(found)))
        return
    typer.echo("".join(f"{line}\n" for line in _diff_lines(found)), nl=False)


def _diff_lines(found: Comparison) -> Iterator[str]:
    from brokerctl.policy.diff import render_comparison

    shown = render_comparison(found)
    changed, requests = shown["changed"], count_of(found.requests, "request")
    yield f"{changed} of {requests} would be decided otherwise"
    for change, texts in zip(found.changes, shown["changes"], strict=True):
        yield from _change_lines(change, texts)
    if found.other_rule:
        yield f"{found.other_rule}: to the same effect, by another rule"
    for name, count in found.not_known:
        yield f"{count}: not known from the record: {safe(name)}"
    for name, count in found.gone:
        yield safe(f"{count}: there is no profile '{name}' any more")


def _change_lines(change: DecidedOtherwise, texts: dict[str, Any]) -> Iterator[str]:
    name = "what was kept" if change.profile is None else change.profile
    agent = "" if change.agent is None else f" for agent {change.agent}"
    last = change.last_time.partition(".")[0] + "Z"
    whose = f"{name} by {change.tool}{agent}"
    yield from wrapped(f"{whose}: {change.count}, the last on {last}, seq {change.last_seq}", 2)
    yield from wrapped(f"  - {texts['before']['effect']}: {_by(texts['before'])}", 6)
    yield from wrapped(f"  + {texts['after']['effect']}: {_by(texts['after'])}", 6)


def wrapped(text: str, indent: int) -> list[str]:
    """Return foreign text in lines of 80 columns, a control character as its escape."""
    return textwrap.wrap(
        safe(text, _TEXT_CHARS),
        _COLUMNS,
        subsequent_indent=" " * indent,
        drop_whitespace=True,
        break_on_hyphens=False,
    )
