"""The key: who keeps it, whether it is at hand, and who else could read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerctl.doctor import PROBLEM, WARNING, Finding
from brokerctl.keys.unlock import find_state_here

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_READERS = {
    "file": "whoever can read this user's files has the key too",
    "env": "whoever can read this process's environment has the key too",
    "keyring": "programs of this desktop session can ask the keyring for it",
    "passphrase": "nobody without the passphrase, but for the kernel's copy while it is unlocked",
}


def check(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Say what the pinned keeper protects against, without asking it."""
    state = find_state_here(environ, is_open=False)
    if state is None:
        yield Finding(what="keys: none yet; the first use makes one")
        return
    who = _READERS.get(state.keeper, "")
    if state.is_locked and state.keeper == "passphrase":
        yield Finding(
            what=f"keys: {state}; helpers and scripts fail until it is unlocked",
            state=PROBLEM,
            hint="run 'brokerctl unlock'",
        )
    elif state.keeper == "file":
        yield Finding(
            what=f"keys: {state}; {who}",
            state=WARNING,
            hint="run 'brokerctl store rekey --to passphrase', or --to keyring where one is",
        )
    else:
        yield Finding(what=f"keys: {state}; {who}")
    if state.keeper in {"keyring", "passphrase"}:
        copy = "has a copy, for a limited time" if state.is_cached else "has no copy now"
        yield Finding(what=f"keys: the kernel {copy}")
