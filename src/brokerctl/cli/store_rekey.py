"""The steps of `store rekey`: the new keeper, its environment, and what is sealed anew."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from brokerctl.broker.events import event
from brokerctl.config import paths
from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import read_layers
from brokerctl.effects import terminal
from brokerctl.errors import KeyLockedError, StoreError, UsageError
from brokerctl.home import open_home
from brokerctl.keys import FOLDER, harden, read_state
from brokerctl.keys.keyring import AWAY
from brokerctl.keys.making import new_keys as with_new_keys
from brokerctl.keys.rekey import rekey, update_ring
from brokerctl.model import KEEPERS, NO_KEEPER, Value
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.process import read_requester
from brokerctl.store import Damage
from brokerctl.store.check import reseal
from brokerctl.store.file.earlier_copy import remove_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerctl.platform.private_files import Folder

# From the variable of the current key to that of the new one.
_NEW = {
    f"BROKERCTL_{name}{end}": f"BROKERCTL_{name}_NEW{end}"
    for name in ("PASSPHRASE", "KEY")
    for end in ("", "_FILE")
}


class Rekeyed(Value):
    """What was done: the keeper of the key, and what was sealed anew with --new-keys."""

    keeper: str
    resealed: int | None = None
    left: tuple[Damage, ...] = ()
    notices: tuple[str, ...] = ()


def move_key(environ: Mapping[str, str], to: str | None, *, new_keys: bool) -> Rekeyed:
    """Make a new wrapping key, with the same keeper or another, and drop the old one."""
    harden()
    folder = _open_folder(environ)
    old = _pinned(folder)
    keeper = to or environ.get("BROKERCTL_KEEPER") or old
    new_environ = _environment(environ, keeper, is_same=keeper == old)
    unlock_for = _unlock_for(environ)
    with _where_the_keyring_is():
        notices = rekey(
            folder, environ, keeper, new_environ=new_environ, ask=_ask(), unlock_for=unlock_for
        )
    notices += _without_earlier_copy(folder)
    after = {name: value for name, value in new_environ.items() if name != "BROKERCTL_KEEPER"}
    if new_keys:
        done = replace_keys(after)
        return done.replace(notices=(*notices, *done.notices))
    home = open_home(after)
    fields = {"from": old, "to": keeper, "requester": read_requester(environ, "store")}
    home.log.append(*event("store.rekeyed", fields), durable=True)
    return Rekeyed(keeper=keeper, notices=tuple(notices))


def replace_keys(environ: Mapping[str, str]) -> Rekeyed:
    """Make new seal and log keys, seal every entry anew and continue the log under the new key."""
    harden()
    folder = _open_folder(environ)
    with _where_the_keyring_is():
        update_ring(folder, environ, with_new_keys, ask=_ask())
    home = open_home(environ)
    home.log.close_segment()
    done = reseal(home.store)
    notices = _without_earlier_copy(folder)  # the first of these writes may have made it
    fields = {
        "resealed": done.resealed,
        "left": len(done.left),
        "requester": read_requester(environ, "store"),
    }
    home.log.append(*event("store.rekeyed", fields), durable=True)
    return Rekeyed(
        keeper=_pinned(folder), resealed=done.resealed, left=done.left, notices=tuple(notices)
    )


def _without_earlier_copy(folder: Folder) -> list[str]:
    """Remove the copy of the store in its earlier format; return lines for people.

    Security: the replaced key still opens that copy.
    """
    try:
        is_removed = remove_copy(folder)
    except StoreError as error:
        return [f"the old key still opens a copy of the store: {error.message}"]
    return ["the copy of the store in its earlier format is removed"] if is_removed else []


@contextmanager
def _where_the_keyring_is() -> Iterator[None]:
    """Replace the key's own hint, which would name this command, by where to run it."""
    try:
        yield
    except KeyLockedError as error:
        if error.hint == AWAY:
            error.hint = "run it in the session that has the keyring: only there can it be asked"
        raise


def _environment(environ: Mapping[str, str], keeper: str, *, is_same: bool) -> dict[str, str]:
    """Return the environment of the new keeper; UsageError for the same key again."""
    changed = dict(environ)
    traits = KEEPERS.get(keeper, NO_KEEPER)
    own = traits.variable
    given = {old: environ[new] for old, new in _NEW.items() if new in environ}
    if own and (is_same or own in given or f"{own}_FILE" in given):
        for name in (own, f"{own}_FILE"):
            changed.pop(name, None)
    changed.update(given)
    if traits.is_given and is_same and not {own, f"{own}_FILE"} & set(given):
        raise UsageError(
            "the new key is not given",
            hint=f"set {own}_NEW to what 'brokerctl store key' prints",
        )
    return changed


def _open_folder(environ: Mapping[str, str]) -> Folder:
    state = open_folder(paths.state_home(environ))
    folder = state.child(paths.STATE_VERSION) if state is not None else None
    if folder is None:  # pragma: no cover - it is made if missing
        raise StoreError("the state folder can't be opened")
    return folder


def _pinned(folder: Folder) -> str:
    keys = folder.child(FOLDER, create=False)
    state = read_state(keys) if keys is not None else None
    if state is None:
        raise StoreError(f"{folder.path} has no key ring yet", hint="run 'brokerctl login'")
    return state[0].keeper


def _ask() -> Callable[[str], str] | None:
    if not terminal.is_interactive():
        return None
    return lambda prompt: terminal.ask_secret(prompt.removesuffix(": "))


def _unlock_for(environ: Mapping[str, str]) -> Callable[[], int | None]:
    return lambda: compile_layers(read_layers(environ, os.getcwd()), environ).unlock_for_s
