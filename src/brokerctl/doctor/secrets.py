"""Checks clients' secrets: whether each is where its reference says.

A reference that would ask a person, a keyring or a command is only named.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl.config.references import resolve
from brokerctl.doctor import PROBLEM, Finding
from brokerctl.errors import BrokerError, shell_word
from brokerctl.model import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.home import Home

_LOOKED_AT = ("env", "file", "store")
_NAMES = {"sign": "command that signs"}


def check(home: Home) -> Iterator[Finding]:
    """Resolve the references that ask nobody and run nothing."""
    for _, profile in sorted(home.plan.profiles.items()):
        for reference in (profile.client_secret, profile.client_key):
            if not isinstance(reference, Reference):
                continue
            if reference.kind not in _LOOKED_AT:
                kind = _NAMES.get(reference.kind, reference.kind)
                what = f"'{profile.name}': its secret comes from a {kind}, not tried here"
                yield Finding(what=what)
                continue
            try:
                resolve(reference, home.environ, home.find_secret)
            except BrokerError as error:
                hint = error.hint or f"run 'brokerctl profile show {shell_word(profile.name)}'"
                yield Finding(what=f"'{profile.name}': {error.message}", state=PROBLEM, hint=hint)
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                yield Finding(what=f"'{profile.name}': its secret: {reason}", state=PROBLEM)
