"""Sessions whose entries don't open: what can still be known of them is told, and ended.

An entry is named by the keyed hash of its session's id, and each slot of a session names that id:
the session's own tokens are found without the entry. Not so whether its supervisor lives, and where
the files of a session lie that has no token of its own.
"""

from __future__ import annotations

from brokerctl.errors import BrokerError
from brokerctl.model import Slot
from brokerctl.platform.system import SYSTEM
from brokerctl.session import private
from brokerctl.session.door import revoke_left
from brokerctl.store.check import set_damaged_aside
from brokerctl.store.entry import KIND_NAMES, SESSION, TOKEN, plain_name
from brokerctl.store.file.disk import ASIDE
from brokerctl.store.slots import find_cut_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.broker.revoke import Ending
    from brokerctl.store.file import FileStore
    from brokerctl.wire import House

_ASIDE = f"{KIND_NAMES[SESSION]}-"
_ALIVE = ("live", "superseded")


def settle_lost(house: House) -> tuple[list[Ending], list[BrokerError]]:
    """Set damaged entries aside, and end the tokens and files of the sessions that they were of.

    Security: a supervisor that can't be seen counts as killed here. A session that lives on and
    loses its token says so at once; a token that nobody ends would say nothing.
    """
    moved = set_damaged_aside(house.store, SESSION)
    if moved and house.store.tell is not None:
        house.store.tell(moved)
    ended: list[Ending] = []
    failed: list[BrokerError] = []
    for session_id in _find_lost(house):
        try:
            ended += revoke_left(house, session_id)
            private.remove_files(private.folder_path(house.environ, session_id, SYSTEM), SYSTEM)
        except BrokerError as error:
            failed.append(error)
    return ended, failed


def _find_lost(house: House) -> list[str]:
    """Return the sessions with tokens that may live and an entry that was set aside.

    By whomever: where a command stopped half-way, or `store check --mend` was first, the next one
    still finds them. What has been tried is queued or spared, and not tried again.
    """
    store, name_key = house.store, house.ring.name_key
    aside = [name for name in store.disk.child(ASIDE).names() if name.startswith(_ASIDE)]
    lost = {name.removeprefix(_ASIDE).partition("-")[0] for name in aside}
    lost -= {entry.name for entry in store.entries(SESSION)}  # written anew by its supervisor
    if not lost:
        return []
    owners = dict.fromkeys(_owners(store))
    return [one for one in owners if plain_name(name_key, "session", one) in lost]


def _owners(store: FileStore) -> Iterator[str]:
    slots = [entry.value for entry in store.entries(TOKEN)]
    slots += [grant.issued for grant in find_cut_off(store)]
    for slot in slots:
        if not isinstance(slot, Slot) or slot.key.actor is None:
            continue
        tokens = (slot.current, *slot.superseded)
        if any(token and token.value and token.status in _ALIVE for token in tokens):
            yield slot.key.actor
