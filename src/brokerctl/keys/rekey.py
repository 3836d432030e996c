"""`rekey`: another keeper or another wrapping key for the same ring, and new keys inside it.

`raise_version` gives the ring the version that tells older programs to stop.

The order makes every crash harmless: the new keeper has its key; `keeper.json` names both; the
ring is sealed anew and read back; `keeper.json` names the new one alone; the old key is dropped.
The ring file says which of the two it is sealed by, so that it opens at every moment.
"""

from __future__ import annotations

from brokerctl.errors import BrokerError, DamagedError, StoreError
from brokerctl.keys import (
    FOLDER,
    Means,
    keeper,
    making,
    open_with_key,
    read_state,
    remember,
    sealing_pin,
    unwrap,
)
from brokerctl.keys import pin as pins
from brokerctl.keys import ring as rings
from brokerctl.keys.create import new_wrap
from brokerctl.keys.lock import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.keys import UnlockFor
    from brokerctl.keys.pin import Pin
    from brokerctl.keys.ring import KeyRing
    from brokerctl.platform.private_files import Folder


def rekey(
    home: Folder,
    environ: Mapping[str, str],
    to: str,
    *,
    new_environ: Mapping[str, str] | None = None,
    ask: Callable[[str], str] | None = None,
    unlock_for: UnlockFor | None = None,
) -> list[str]:
    """Move the wrapping key to the keeper `to`, which may be the same; return what to tell people.

    `new_environ` is what the new keeper reads: another BROKERCTL_KEY, another passphrase. If
    anything fails, the old keeper still opens the ring.
    """
    folder = _keys_folder(home)
    means = Means(folder, environ, ask=ask)
    new_means = Means(folder, environ if new_environ is None else new_environ, ask=ask)
    try:
        with locked(folder):
            old, sealed = settle(means)
            ring, _ = unwrap(means, old, sealed)
            new, key = new_wrap(to, new_means)
            try:
                _move(folder, old, new, ring, key)
            except BrokerError:
                _undo(means, new_means, new)
                raise
            notices = _drop(means, old)
            remember(new_means, new, key, unlock_for)
            return notices
    finally:
        folder.close()


def _move(folder: Folder, old: Pin, new: Pin, ring: KeyRing, key: bytes) -> None:
    folder.write(pins.NAME, pins.render_pin(new.replace(previous=old)))
    folder.write(rings.NAME, making.seal_ring(ring, new.wrap_id, key))
    _verify(folder, key, ring)
    folder.write(pins.NAME, pins.render_pin(new))


def _verify(folder: Folder, key: bytes, ring: KeyRing) -> None:
    """Compare what the disk has with what was meant, before anything old is dropped."""
    found = folder.read(rings.NAME, rings.MAX_BYTES)
    if found is None or rings.open_sealed_ring(found, key) != ring:
        raise DamagedError(f"{folder.path}/{rings.NAME} did not read back as it was written")


def _undo(means: Means, new_means: Means, new: Pin) -> None:
    """Leave the disk naming one keeper again, if it lets us; else the next `rekey` does."""
    try:
        pin, _ = settle(means)
        if pin.wrap_id != new.wrap_id:
            keeper(new.keeper, new_means).drop(new)
    except BrokerError:
        return  # the first error is the one to report


def settle(means: Means) -> tuple[Pin, bytes]:
    """Finish or undo a `rekey` that stopped half-way; return the one keeper that is left."""
    state = read_state(means.folder)
    if state is None:
        raise StoreError(f"{means.folder.path} has no key ring yet", hint="run 'brokerctl login'")
    pin, sealed = state
    used = sealing_pin(pin, sealed) or pin
    if pin.previous is not None:
        other = pin if used.wrap_id != pin.wrap_id else pin.previous
        used = used.replace(previous=None)
        means.folder.write(pins.NAME, pins.render_pin(used))
        _drop(means, other)
    return used, sealed


def _drop(means: Means, pin: Pin) -> list[str]:
    means.cache.drop(pin.wrap_id)
    try:
        keeper(pin.keeper, means).drop(pin)
    except BrokerError as error:
        return [f"the old key could not be removed from '{pin.keeper}': {error.message}"]
    return []


def update_ring(
    home: Folder,
    environ: Mapping[str, str],
    change: Callable[[KeyRing], KeyRing],
    *,
    ask: Callable[[str], str] | None = None,
) -> KeyRing:
    """Replace the ring by `change` of it (`making.new_keys`), under the same wrapping key.

    Processes that opened the ring before go on with what they have: `change` must leave the keys
    that they may seal with in the ring.
    """
    folder = _keys_folder(home)
    means = Means(folder, environ, ask=ask)
    try:
        with locked(folder):
            pin, sealed = settle(means)
            ring, key = unwrap(means, pin, sealed)
            changed = change(ring)
            folder.write(rings.NAME, making.seal_ring(changed, pin.wrap_id, key))
            try:
                _verify(folder, key, changed)
            except DamagedError:
                folder.write(rings.NAME, sealed)
                raise
            return changed
    finally:
        folder.close()


def raise_version(
    home: Folder, environ: Mapping[str, str], before: Callable[[], object]
) -> KeyRing | None:
    """Raise the version of the ring's file to ours; None where another process was first.

    `before` is called first, while no other process can raise it; where it raises, nothing is
    changed. Nobody is asked for anything: the kernel's copy of the key will do.
    """
    folder = _keys_folder(home)
    means = Means(folder, environ)
    try:
        with locked(folder):
            state = read_state(folder)
            if state is None:
                raise StoreError(f"{folder.path} was removed meanwhile")
            pin = sealing_pin(*state) or state[0]
            ring, key = open_with_key(means, pin, state[1])
            if ring.version == rings.VERSION:
                return None
            before()
            raised = ring.changed(version=rings.VERSION)
            folder.write(rings.NAME, making.seal_ring(raised, pin.wrap_id, key))
            try:
                _verify(folder, key, raised)
            except DamagedError:
                folder.write(rings.NAME, state[1])
                raise
            return raised
    finally:
        folder.close()


def _keys_folder(home: Folder) -> Folder:
    folder = home.child(FOLDER, create=False)
    if folder is None:
        raise StoreError(f"{home.path} has no key ring yet", hint="run 'brokerctl login'")
    return folder
