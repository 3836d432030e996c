"""Checks the tools that ask brokerctl: does their program exist, and is it asked first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from brokerctl.doctor import WARNING, Finding
from brokerctl.errors import shell_word
from brokerctl.helpers.import_plain import find_again
from brokerctl.helpers.install import find_installed
from brokerctl.helpers.kept import list_kept
from brokerctl.helpers.setups import SETUPS
from brokerctl.helpers.shadow import find_shadows
from brokerctl.text import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from brokerctl.home import Home
    from brokerctl.model import Profile


def check(home: Home) -> Iterator[Finding]:
    """Look at the tools that were set up, and at no others."""
    hosts = {host for profile in home.plan.profiles.values() for host in profile.hosts}
    found = {tool: find_installed(tool, home.environ) for tool in SETUPS}
    asking = {tool: one for tool, one in found.items() if one.is_in}
    if not asking:
        yield Finding(what="helpers: no tool was set up to ask brokerctl")
    else:
        yield from _twice(home.plan.profiles.values())
    yield from _unanswered(home)
    yield from _plain_again(home)
    for tool, one in asking.items():
        if one.fault:
            yield Finding(what=f"{tool}: {one.fault}", state=WARNING, hint=one.hint)
            continue
        shadows = [*find_shadows(tool, hosts, home.environ)]
        for line in shadows:
            yield Finding(what=line, state=WARNING, hint=_way_on(tool, line))
        if not shadows:
            yield Finding(what=f"{tool}: asks brokerctl, by {one.path}")


def _twice(profiles: Iterable[Profile]) -> Iterator[Finding]:
    """Name the hosts of two profiles: a tool that names no user gets no token for them."""
    owners: dict[tuple[str, str | None], list[str]] = {}
    for profile in profiles:
        for host in profile.hosts:
            owners.setdefault((host, profile.username), []).append(f"'{profile.name}'")
    for (host, _), names in sorted(owners.items(), key=str):
        if len(names) > 1:
            what = f"{host} belongs to {' and '.join(sorted(names))}: tools get no token for it"
            hint = "give one of them a path, or a username that the URL has too"
            yield Finding(what=what, state=WARNING, hint=hint)


def _unanswered(home: Home) -> Iterator[Finding]:
    """Name kept credentials that their tool does not get, each reason once."""
    reasons = Counter((held.one.tool, held.unanswered) for held in list_kept(home))
    for (tool, why), count in sorted(reasons.items(), key=str):
        if why is not None:
            what = f"{tool}: {count_of(count, 'credential')} kept and not found by it: {why}"
            yield Finding(what=what, state=WARNING, hint="run 'brokerctl helper kept'")


def _plain_again(home: Home) -> Iterator[Finding]:
    for tool, path, count in find_again(home):
        what = f"{path} has {count_of(count, 'credential')} in plain text again that is kept here"
        what = what if count == 1 else what.replace("that is kept", "that are kept")
        hint = f"run 'brokerctl helper import {shell_word(tool)}'"
        yield Finding(what=f"{tool}: {what}", state=WARNING, hint=hint)


def _way_on(tool: str, line: str) -> str:
    if "does not ask brokerctl" in line:  # mostly a host that was added after `install`
        again = f"run 'brokerctl helper install {shell_word(tool)}'"
        return f"{again}; or an empty 'helper =' below it is to go"
    if "in PATH" in line:
        return f"or take brokerctl out with 'brokerctl helper uninstall {shell_word(tool)}'"
    return f"remove it, or take brokerctl out with 'brokerctl helper uninstall {shell_word(tool)}'"
