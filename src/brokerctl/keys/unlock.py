"""`unlock` and `lock`: put the key into the kernel's cache, and drop it; its state for `status`."""

from __future__ import annotations

from brokerctl.config import paths
from brokerctl.errors import DamagedError, KeyLockedError, StoreError, UsageError
from brokerctl.keys import FOLDER, Means, cached_for_s, read_state, sealing_pin, traits_of, unwrap
from brokerctl.keys import pin as pins
from brokerctl.keys import ring as rings
from brokerctl.keys.create import create_ring
from brokerctl.keys.env import is_given
from brokerctl.keys.passphrase import VARIABLE
from brokerctl.model import Value
from brokerctl.platform.private_files import open_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.keys import UnlockFor
    from brokerctl.keys.pin import Pin
    from brokerctl.platform.private_files import Folder


class KeyState(Value):
    """Where the wrapping key is kept and whether it can be had at once."""

    keeper: str
    is_locked: bool  # a person, or the OS keyring, is needed to open it
    is_cached: bool = False  # the kernel has a copy that opens the ring

    def as_json(self) -> dict[str, object]:
        """Return what `status --json` says of it."""
        return {"keeper": self.keeper, "locked": self.is_locked, "cached": self.is_cached}

    def __str__(self) -> str:
        if self.is_locked:
            return f"locked, kept by '{self.keeper}'"
        return f"not locked, kept by '{self.keeper}'"


class Unlocked(Value):
    """What `unlock` reached: cached for so long, or a keeper that needs no unlocking."""

    keeper: str
    for_s: int | None  # None: there is nothing to unlock
    notice: str | None = None


def find_key_state(home: Folder, environ: Mapping[str, str]) -> KeyState | None:
    """Return the state of the key, asking nobody and starting nothing; None without a ring."""
    folder = home.child(FOLDER, create=False)
    if folder is None:
        return None
    try:
        state = read_state(folder)
        if state is None:
            return None
        pin, sealed = _sealing(*state)
        traits = traits_of(pin.keeper)
        if traits.cached_for_s is None:
            return KeyState(keeper=pin.keeper, is_locked=False)
        is_cached = _is_cached(Means(folder, environ), pin, sealed)
        is_given_now = traits.is_typed and is_given(f"{traits.variable}", environ)
        return KeyState(
            keeper=pin.keeper, is_locked=not is_cached and not is_given_now, is_cached=is_cached
        )
    finally:
        folder.close()


def find_state_here(environ: Mapping[str, str], *, is_open: bool) -> KeyState | None:
    """Return the state of the key of this environment; `is_open`: a command has just had it."""
    home = open_folder(paths.state_home(environ), create=False)
    folder = home.child(paths.STATE_VERSION, create=False) if home is not None else None
    state = find_key_state(folder, environ) if folder is not None else None
    return state.replace(is_locked=False) if state is not None and is_open else state


def _is_cached(means: Means, pin: Pin, sealed: bytes) -> bool:
    key = means.cache.find(pin.wrap_id)
    if key is None:
        return False
    try:
        rings.open_sealed_ring(sealed, key)
    except DamagedError:
        return False
    return True


def unlock(
    home: Folder,
    environ: Mapping[str, str],
    unlock_for: UnlockFor | None = None,
    *,
    ask: Callable[[str], str] | None = None,
    choice: Callable[[], str | None] | None = None,
) -> Unlocked:
    """Have the key from its keeper and put it into the kernel's cache, for so long from now.

    Makes the ring where there is none yet: this is where a first passphrase can be typed. `choice`
    is called for the configured keeper then. KeyLockedError if the keeper does not give the key,
    or if this kernel keeps no keys for us.
    """
    folder, notice = home.child(FOLDER), None
    if folder is None:  # pragma: no cover - only `create=False` answers None
        raise StoreError(f"can't make {home.path}/{FOLDER}")
    try:
        state = read_state(folder)
        is_new = state is None
        if state is None:
            wanted = choice() if choice else None
            _, notice = create_ring(home, environ, wanted, ask=ask, unlock_for=unlock_for)
            state = read_state(folder)
        if state is None:
            raise StoreError(f"{folder.path} was removed meanwhile")
        pin, sealed = _sealing(*state)
        means = Means(folder, environ, ask=ask)
        if cached_for_s(pin.keeper) is None:
            return Unlocked(keeper=pin.keeper, for_s=None, notice=notice)
        # What was typed a moment ago for a new ring is in the cache; nobody is asked again.
        key = means.cache.find(pin.wrap_id) if is_new else unwrap(means, pin, sealed)[1]
        for_s = _load_cache(means, pin, key, unlock_for)
        return Unlocked(keeper=pin.keeper, for_s=for_s, notice=notice)
    finally:
        folder.close()


def _load_cache(means: Means, pin: Pin, key: bytes | None, unlock_for: UnlockFor | None) -> int:
    wanted = unlock_for() if unlock_for is not None else None
    seconds = (cached_for_s(pin.keeper) or 0) if wanted is None else wanted
    if seconds <= 0:
        raise UsageError("unlocked for no time at all", hint="run 'brokerctl unlock --for 8h'")
    if key is None or not means.cache.put(pin.wrap_id, key, seconds):
        raise KeyLockedError(
            "the kernel keeps no keys here: a container or seccomp forbids it",
            hint=f"set {VARIABLE}_FILE, or move the key with 'brokerctl store rekey'",
        )
    return seconds


def lock(home: Folder, environ: Mapping[str, str]) -> bool:
    """Drop the kernel's copy for every session of this user; False if there was none."""
    folder = home.child(FOLDER, create=False)
    if folder is None:
        return False
    try:
        data = folder.read(pins.NAME, pins.MAX_BYTES)
        if data is None:
            return False
        pin, cache = pins.parse_pin(data), Means(folder, environ).cache
        candidates = [pin] if pin.previous is None else [pin, pin.previous]
        dropped = [cache.drop(candidate.wrap_id) for candidate in candidates]
        return any(dropped)
    finally:
        folder.close()


def _sealing(pin: Pin, sealed: bytes) -> tuple[Pin, bytes]:
    return sealing_pin(pin, sealed) or pin, sealed
