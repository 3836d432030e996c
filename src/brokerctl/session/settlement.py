"""Ends what is left of sessions in a home's store, for commands that may talk to an issuer."""

from __future__ import annotations

from brokerctl.broker.events import event
from brokerctl.errors import BrokerError
from brokerctl.model import LIVE, SUPERSEDED
from brokerctl.platform.system import SYSTEM
from brokerctl.session import token_files
from brokerctl.session.leftovers import Session, about, find_session, settle_all
from brokerctl.store.check import set_damaged_aside
from brokerctl.store.entry import SESSION, TOKEN, plain_name
from brokerctl.store.slots import find_cut_off
from brokerctl.store.values import Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.broker.revoke import Ending
    from brokerctl.home import Home
    from brokerctl.session import Ended
    from brokerctl.store import Entry
    from brokerctl.store.file import FileStore

_AT_ISSUER = (LIVE, SUPERSEDED)  # alive there, as far as is known


def settle_lost(home: Home) -> tuple[list[Ending], list[BrokerError]]:
    """Set damaged entries aside, and end the tokens and files of their sessions.

    Security: the supervisor is not known, so it counts as killed. If its session lives on, the loss
    of its token is noticed at once; a token that nobody revokes would not be noticed.
    """
    moved = set_damaged_aside(home.store, SESSION)
    if moved and home.store.tell is not None:
        home.store.tell(moved)
    ended: list[Ending] = []
    failed: list[BrokerError] = []
    for session_id in _find_lost(home):
        try:
            ended += revoke_left(home, session_id)
            token_files.remove_files(
                token_files.folder_path(home.environ, session_id, SYSTEM), SYSTEM
            )
        except BrokerError as error:
            failed.append(error)
    return ended, failed


def _find_lost(home: Home) -> list[str]:
    """Return the sessions whose entry was set aside and whose tokens may live.

    It does not matter which command set the entry aside: if it stopped half-way, or was `store
    check --mend`, the next one still finds them. A token that was tried before is left out.
    """
    store, name_key = home.store, home.ring.name_key
    lost = {name.partition("-")[0] for name in store.names_aside(SESSION)}
    lost -= {entry.name for entry in store.entries(SESSION)}  # its supervisor has written it again
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
        if any(token and token.value and token.status in _AT_ISSUER for token in tokens):
            yield slot.key.actor


def revoke_left(
    home: Home, session_id: str, grants: tuple[str, ...] = (), tool: str = "exec"
) -> list[Ending]:
    """Revoke the tokens of a session whose supervisor was killed, or that `tool` ends.

    Its profiles may have been edited meanwhile, so that they name other grants now: `grants` has
    the names that it noted itself. Without them its tokens are looked for wherever they may lie.
    """
    from brokerctl.broker.held_grants import profile_for  # noqa: PLC0415 - only where something is left
    from brokerctl.store.slots import find_cut_off  # noqa: PLC0415 - as above

    revoker = home.revoker(tool)
    found = {}
    for entry in _slots(home.store, grants):
        slot = entry.value
        if isinstance(slot, Slot) and slot.key.actor == session_id:
            found[slot.key.grant] = slot.profile
    for grant in find_cut_off(home.store):
        if grant.issued is not None and grant.issued.key.actor == session_id:
            found[grant.key] = grant.issued.profile
    return [
        ending
        for key, name in found.items()
        for ending in revoker.revoke_session(
            profile_for(home.plan.profiles, name, key), key, session_id
        )
    ]


def _slots(store: FileStore, grants: tuple[str, ...]) -> Iterator[Entry]:
    if not grants:
        yield from store.entries(TOKEN)
    for grant in grants:
        yield from store.entries_of(TOKEN, grant)


def settle_leftovers(
    home: Home, *, is_marked: bool = False
) -> tuple[list[Ended], list[BrokerError]]:
    """End what killed sessions left behind, for commands that may talk to an issuer.

    `is_marked`: that of sessions which another command had begun to end, instead. Returns how each
    token ended, and the errors, which the next command tries again.
    """

    def name_of(session_id: str) -> str:
        return plain_name(home.ring.name_key, "session", session_id)

    def revoke_own(session_id: str, _names: tuple[str, ...]) -> list[Ending]:
        session = find_session(home.store, name_of(session_id))
        return revoke_left(home, session_id, session.grants if session else ())

    def record(session: Session) -> None:
        if session.ended_at is None:  # else who marked it has recorded that
            fields = {"reason": "its supervisor has gone", "requester": None}
            home.log.append(*event("session.ended", about(session), fields))

    return settle_all(home.store, name_of, revoke_own, SYSTEM, record, is_marked=is_marked)
