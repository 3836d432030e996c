"""Who keeps the key that wraps the ring, and how a ring is opened.

A keeper is one file here and one line of `model.KEEPERS`. It is chosen at first use and pinned in
`keys/keeper.json`; only `rekey` changes it. The kernel's keyring is a cache in front of the slow
ones, never a keeper: whatever comes out of it must open the ring, else it counts as absent.
This file is on the warm road; making a ring, `rekey` and `lock` are in files of their own.
"""

from __future__ import annotations

from brokerctl.errors import DamagedError, KeyLockedError, StoreError, UsageError
from brokerctl.keys import pin as pins
from brokerctl.keys import ring as rings
from brokerctl.model import KEEPERS, NO_KEEPER
from brokerctl.platform.libc import harden as harden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from brokerctl.keys.interface import Cache, Keeper
    from brokerctl.keys.pin import Pin
    from brokerctl.keys.ring import KeyRing
    from brokerctl.model import KeeperTraits
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System

    UnlockFor: TypeAlias = Callable[[], int | None]  # seconds; None: the default; 0: not at all

FOLDER = "keys"
_ATTEMPTS = 8
_UNLOCK = "run 'brokerctl unlock'"


class Means:
    """What a keeper may use; not a Value, because its repr would show the environment."""

    __slots__ = ("_cache", "ask", "environ", "folder")

    def __init__(
        self,
        folder: Folder,
        environ: Mapping[str, str],
        *,
        ask: Callable[[str], str] | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.folder = folder
        self.environ = environ
        self.ask = ask  # prompts on a terminal; None: nobody can be asked
        self._cache = cache

    @property
    def cache(self) -> Cache:
        """The kernel's copy; loaded when a keeper needs it."""
        if self._cache is None:
            self._cache = _load("brokerctl.keys.kernel:KernelCache")()
        return self._cache

    @property
    def system(self) -> System:
        """The system calls that everything here makes."""
        return self.folder.system


def open_ring(
    home: Folder, environ: Mapping[str, str], *, unlock_for: UnlockFor | None = None
) -> KeyRing | None:
    """Open the ring of this home; None if it has none yet, and `create.create_ring` makes it.

    Nobody is asked anything: KeyLockedError where the key exists and can't be had now. `unlock_for`
    is called for the configured seconds only when a key is about to be put into the cache.
    """
    folder = home.child(FOLDER, create=False)
    if folder is None:
        return None
    try:
        return open_state(Means(folder, environ), unlock_for)
    finally:
        folder.close()


def read_state(folder: Folder) -> tuple[Pin, bytes] | None:
    """Return the choice and the sealed ring that belong together; None if there is no ring.

    No lock is taken: a first use or a `rekey` between the two reads is seen and read again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            choice = folder.read(pins.NAME, pins.MAX_BYTES)
            sealed = folder.read(rings.NAME, rings.MAX_BYTES)
        except StoreError:
            if attempt + 1 == _ATTEMPTS:
                raise
            continue  # replaced between being opened and being checked
        if sealed is None:
            return None
        if choice is not None:
            pin = pins.parse_pin(choice)
            if sealing_pin(pin, sealed) is not None:
                return pin, sealed
    raise DamagedError(
        f"{folder.path}/{pins.NAME} does not name the key that {rings.NAME} is sealed by",
        hint="put keys/ back from a backup",
    )


def sealing_pin(pin: Pin, sealed: bytes) -> Pin | None:
    """Return the one of the pinned keepers whose key the ring file names."""
    wrap_id = rings.ring_wrap_id(sealed)
    for candidate in (pin, pin.previous):
        if candidate is not None and candidate.wrap_id == wrap_id:
            return candidate
    return None


def open_state(means: Means, unlock_for: UnlockFor | None = None) -> KeyRing | None:
    """Open the ring that is there, if there is one; a `rekey` meanwhile is followed."""
    _refuse_switch(means)
    state = read_state(means.folder)
    while state is not None:
        pin, sealed = state
        try:
            return _open(means, sealing_pin(pin, sealed) or pin, sealed, unlock_for)
        except StoreError:
            before, state = state, read_state(means.folder)
            if state == before:
                raise
    return None


def _open(means: Means, pin: Pin, sealed: bytes, unlock_for: UnlockFor | None) -> KeyRing:
    if cached_for_s(pin.keeper) is None:
        return unwrap(means, pin, sealed)[0]
    found = _open_cached(means, pin, sealed)
    if found is not None:
        return found[0]
    # One process asks the slow keeper, and those that wait find its answer in the cache.
    with _load("brokerctl.keys.lock:gate")(means.folder):
        found = _open_cached(means, pin, sealed)
        if found is None:
            found = unwrap(means, pin, sealed)
            remember(means, pin, found[1], unlock_for)
    return found[0]


def _open_cached(means: Means, pin: Pin, sealed: bytes) -> tuple[KeyRing, bytes] | None:
    key = means.cache.find(pin.wrap_id)
    if key is None:
        return None
    try:
        return rings.open_sealed_ring(sealed, key), key
    except DamagedError:
        return None  # Security: a copy that does not open the ring counts as absent


def open_with_key(means: Means, pin: Pin, sealed: bytes) -> tuple[KeyRing, bytes]:
    """Open the ring with the kernel's copy of the key, else with the keeper's; return both."""
    found = None if cached_for_s(pin.keeper) is None else _open_cached(means, pin, sealed)
    return found or unwrap(means, pin, sealed)


def unwrap(means: Means, pin: Pin, sealed: bytes) -> tuple[KeyRing, bytes]:
    """Open the ring with the key that the keeper itself gives; return both."""
    key = keeper(pin.keeper, means).fetch(pin)
    try:
        return rings.open_sealed_ring(sealed, key), key
    except DamagedError as error:
        raise _wrong_key(pin, means, error) from None


def remember(means: Means, pin: Pin, key: bytes, unlock_for: UnlockFor | None) -> bool:
    """Put the key into the kernel's cache, where this keeper wants one; say whether it is there."""
    default = cached_for_s(pin.keeper)
    if default is None:
        return False
    wanted = unlock_for() if unlock_for is not None else None
    return means.cache.put(pin.wrap_id, key, default if wanted is None else wanted)


def _wrong_key(pin: Pin, means: Means, error: DamagedError) -> StoreError:
    """Return the error in this keeper's words: a wrong passphrase is likelier than damage."""
    traits = traits_of(pin.keeper)
    if traits.is_typed:
        names = (f"{traits.variable}", f"{traits.variable}_FILE")
        given = next((name for name in names if means.environ.get(name)), None)
        hint = _UNLOCK if given is None else f"{given} has another one"
        return KeyLockedError("wrong passphrase", hint=hint)
    if traits.is_given:
        return StoreError(
            f"{traits.variable} is not the key of {means.folder.path}/{rings.NAME}",
            hint=f"set the {traits.variable} that this store was made with",
        )
    return DamagedError(error.message, hint="put keys/ back from a backup")


def cached_for_s(name: str) -> int | None:
    """Return for how long the kernel may have a keeper's key; None where it is not cached."""
    return traits_of(name).cached_for_s


def traits_of(name: str) -> KeeperTraits:
    """Return what is known of a keeper; the usual for one of a later version's."""
    return KEEPERS.get(name, NO_KEEPER)


def keeper(name: str, means: Means) -> Keeper:
    """Look a keeper up in the table."""
    traits = KEEPERS.get(name)
    if traits is None:
        raise UsageError(f"no keeper is called '{name}'", hint=f"one of {', '.join(KEEPERS)}")
    made: Keeper = _load(f"{__name__}.{traits.entry}")(means)
    return made


def _refuse_switch(means: Means) -> None:
    wanted = means.environ.get("BROKERCTL_KEEPER")
    if not wanted:
        return
    choice = means.folder.read(pins.NAME, pins.MAX_BYTES)
    pinned = pins.parse_pin(choice).keeper if choice is not None else wanted
    if pinned != wanted:
        raise UsageError(
            f"BROKERCTL_KEEPER is '{wanted}' and the key of this store is kept by '{pinned}'",
            hint="unset BROKERCTL_KEEPER, or move the key with 'brokerctl store rekey'",
        )


def _load(dotted: str) -> Any:  # noqa: ANN401 - a table look-up: what it names has its own type
    module, _, name = dotted.partition(":")
    return getattr(__import__(module, fromlist=[name]), name)
