"""First use: chooses a keeper and makes a ring; many processes that start at once get one ring.

Under the lock `keys/.lock`, in this order: the keeper has the key, `keeper.json` names it, the ring
is written last and thereby *is* the store's beginning. A crash before that leaves nothing that
anything was sealed by, and the next first use starts over. A ring is never overwritten here.
"""

from __future__ import annotations

from brokerctl.errors import StoreError, UsageError
from brokerctl.keys import FOLDER, Means, keeper, making, open_state, remember
from brokerctl.keys import pin as pins
from brokerctl.keys import ring as rings
from brokerctl.keys.env import is_given
from brokerctl.keys.lock import locked
from brokerctl.model import KEEPERS
from brokerctl.sodium import random_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.keys import UnlockFor
    from brokerctl.keys.pin import Pin
    from brokerctl.keys.ring import KeyRing
    from brokerctl.platform.private_files import Folder

_SEALED = ("grants", "secrets")  # what a lost ring would lose


def create_ring(
    home: Folder,
    environ: Mapping[str, str],
    choice: str | None = None,
    *,
    ask: Callable[[str], str] | None = None,
    unlock_for: UnlockFor | None = None,
) -> tuple[KeyRing, str | None]:
    """Make the ring of this home, or open the one that another process made meanwhile.

    `choice` is the configuration's `keys.keeper`; BROKERCTL_KEEPER is above it. The second answer
    is what to say once, on stderr, about a key that lies in a plain file.
    """
    folder = home.child(FOLDER)
    if folder is None:  # pragma: no cover - only `create=False` answers None
        raise StoreError(f"can't make {home.path}/{FOLDER}")
    means = Means(folder, environ, ask=ask)
    try:
        with locked(folder):
            ring = open_state(means, unlock_for)
            if ring is not None:
                return ring, None
            _refuse_lost_ring(home)
            return _create(means, environ.get("BROKERCTL_KEEPER") or choice, unlock_for)
    finally:
        folder.close()


def _create(
    means: Means, wanted: str | None, unlock_for: UnlockFor | None
) -> tuple[KeyRing, str | None]:
    _forget_unfinished(means)
    pin, key, notice = _choose(means, wanted)
    ring = making.new_ring()
    means.folder.write(pins.NAME, pins.render_pin(pin))
    means.folder.write(rings.NAME, making.seal_ring(ring, pin.wrap_id, key))
    remember(means, pin, key, unlock_for)
    return ring, notice


def _choose(means: Means, wanted: str | None) -> tuple[Pin, bytes, str | None]:
    if wanted:
        return *new_wrap(wanted, means), None
    for name, one in KEEPERS.items():
        if one.is_given and is_given(f"{one.variable}", means.environ):
            return *new_wrap(name, means), None
    first, last = (name for name, one in KEEPERS.items() if one.is_usual)
    try:
        return *new_wrap(first, means), None
    except StoreError as error:
        pin, key = new_wrap(last, means)
        path = f"{means.folder.path}/key-{pin.wrap_id}"
        notice = f"{error.message}, so the key is kept in the file {path}"
        return pin, key, notice


def new_wrap(name: str, means: Means) -> tuple[Pin, bytes]:
    """Let a keeper make and keep a new wrapping key."""
    wrap_id = random_bytes(rings.WRAP_ID_BYTES).hex()
    key, details = keeper(name, means).make(wrap_id)
    return pins.Pin(keeper=name, wrap_id=wrap_id, details=details), key


def _forget_unfinished(means: Means) -> None:
    """Drop the key of a first use that a crash ended; nothing was ever sealed by it."""
    data = means.folder.read(pins.NAME, pins.MAX_BYTES)
    if data is None:
        return
    try:
        pin = pins.parse_pin(data)
        keeper(pin.keeper, means).drop(pin)
    except (StoreError, UsageError):
        return  # an orphan in a keeper is harmless


def _refuse_lost_ring(home: Folder) -> None:
    """Refuse to begin anew beside entries that only the missing ring can open."""
    for name in _SEALED:
        folder = home.child(name, create=False)
        if folder is None:
            continue
        try:
            if folder.names():
                raise StoreError(
                    f"{home.path}/{FOLDER}/{rings.NAME} is missing and {folder.path} needs it",
                    hint=f"put keys/ back from a backup, or move {home.path} away to begin anew",
                )
        finally:
            folder.close()
