"""Checks the key: who keeps it, whether it is available, and who else could read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerctl.doctor import PROBLEM, WARNING, Finding
from brokerctl.keys.unlock import find_state_here
from brokerctl.model import KEEPERS, NO_KEEPER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def check(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Report what the pinned keeper protects against, without asking it for the key."""
    state = find_state_here(environ, is_open=False)
    if state is None:
        yield Finding(what="keys: none yet; the first use makes one")
        return
    traits = KEEPERS.get(state.keeper, NO_KEEPER)
    if state.is_locked and traits.is_typed:
        yield Finding(
            what=f"keys: {state}; helpers and scripts fail until it is unlocked",
            state=PROBLEM,
            hint="run 'brokerctl unlock'",
        )
    elif traits.lies_beside:
        yield Finding(
            what=f"keys: {state}; {traits.readers}",
            state=WARNING,
            hint="run 'brokerctl store rekey --to passphrase', or --to keyring where one is",
        )
    else:
        yield Finding(what=f"keys: {state}; {traits.readers}")
    if traits.cached_for_s is not None:
        copy = "has a copy, for a limited time" if state.is_cached else "has no copy now"
        yield Finding(what=f"keys: the kernel {copy}")
