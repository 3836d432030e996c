"""Finds what would fail in the next hour, with the command that repairs it.

A check is a function in a file of this room, and one line of `CHECKS`: it gets an open Home (in
`EARLY`: the environment, before a Home is open) and yields findings. It changes nothing and asks no
person. If it can't look at something, that is a finding too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from brokerctl.errors import BrokerError
from brokerctl.home import open_home
from brokerctl.model import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OK, WARNING, PROBLEM = "ok", "warning", "problem"

EARLY = {
    "configuration": "brokerctl.doctor.configuration:check",
    "environment": "brokerctl.doctor.environment:check",
    "program": "brokerctl.doctor.program:check",
    "key": "brokerctl.doctor.key:check",
}
CHECKS = {
    "folder": "brokerctl.doctor.folder:check",
    "store": "brokerctl.doctor.store:check",
    "grants": "brokerctl.doctor.grants:check",
    "secrets": "brokerctl.doctor.secrets:check",
    "log": "brokerctl.doctor.log:check",
    "helpers": "brokerctl.doctor.helpers:check",
    "issuers": "brokerctl.doctor.issuers:check",
}
ONLINE = ("issuers",)  # these checks send requests


class Finding(Value):
    """The state of one thing; `hint` is the command that repairs it, or what to do."""

    what: str
    state: str = OK  # ok | warning | problem
    hint: str | None = None
    check: str = ""  # filled in by `examine`


def examine(environ: Mapping[str, str], *, is_offline: bool = False) -> Iterator[Finding]:
    """Yield every finding once, in the order of the tables; a check that raises gives one too."""
    told = set()
    for finding in _examine(environ, is_offline=is_offline):
        if finding.what not in told:
            told.add(finding.what)
            yield finding


def _examine(environ: Mapping[str, str], *, is_offline: bool) -> Iterator[Finding]:
    for name, dotted in EARLY.items():
        yield from _run(name, dotted, environ)
    try:
        home = open_home(environ)
    except BrokerError as error:
        yield Finding(what=error.message, state=PROBLEM, hint=error.hint, check="store")
        return
    for name, dotted in CHECKS.items():
        if not (is_offline and name in ONLINE):
            yield from _run(name, dotted, home)


def _run(name: str, dotted: str, subject: object) -> Iterator[Finding]:
    module, _, function = dotted.partition(":")
    try:
        for finding in getattr(import_module(module), function)(subject):
            yield finding.replace(check=name)
    except BrokerError as error:
        yield Finding(what=error.message, state=PROBLEM, hint=error.hint, check=name)
