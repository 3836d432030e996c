"""The ways into a session, and its tools made of an open house: the one file that knows `wire`."""

from __future__ import annotations

from brokerctl import wire
from brokerctl.broker import grant_key
from brokerctl.config.plan import default_profile
from brokerctl.errors import BrokerError
from brokerctl.model import Slot
from brokerctl.platform.system import SYSTEM
from brokerctl.session import Tools
from brokerctl.session.parse import parse_exec
from brokerctl.session.run import run
from brokerctl.store.entry import TOKEN, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.broker.revoke import Ending
    from brokerctl.model import Requester
    from brokerctl.session import Ask, Ended
    from brokerctl.wire import House

_STDERR = 2
_INTERRUPTED = 130


def run_words(words: list[str], environ: Mapping[str, str], umask: int | None = None) -> int | None:
    """Run the words after `exec` if they are in the written grammar; None if they are not."""
    try:
        ask = parse_exec(words)
    except BrokerError as error:
        return wire.print_error(error)
    return None if ask is None else run_ask(ask, environ, umask)


def run_ask(ask: Ask, environ: Mapping[str, str], umask: int | None = None) -> int:
    """Run one session, or print the error; return the exit code.

    `umask` is the caller's own, for the child, where this process has changed it.
    """
    try:
        return run(ask, tools_of(wire.open_house(environ, may_pass=True), umask))
    except BrokerError as error:
        return wire.print_error(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last handler: one line, no traceback, no values
        return wire.print_error(wire.unexpected(error, environ))


def tools_of(house: House, umask: int | None = None) -> Tools:
    """Return what a session needs of an open house."""

    def requester(session_id: str) -> Requester:
        asked = wire.make_request("", house.environ, "exec")
        return asked.requester.replace(session=session_id)

    def revoke_own(session_id: str, names: tuple[str, ...]) -> list[Ending]:
        return revoke_session(house, session_id, names)

    return Tools(
        profiles=house.plan.profiles,
        environ=house.environ,
        default_profile=default_profile(house.plan, house.environ),
        requester=requester,
        get=house.broker.get,
        revoke_own=revoke_own,
        record=house.log.append,
        store=house.store,
        name_of=lambda session_id: plain_name(house.ring.name_key, "session", session_id),
        say=lambda line: wire.write_line(_STDERR, line),
        warn=wire.warn,
        notices=house.notices,
        system=SYSTEM,
        umask=umask,
        is_kept=house.is_kept,
    )


def revoke_session(house: House, session_id: str, names: tuple[str, ...]) -> list[Ending]:
    """Revoke the tokens that a session owns of these profiles, which are still as they were."""
    revoker, profiles = house.revoker("exec"), house.plan.profiles
    return [
        ending
        for name in names
        for ending in revoker.revoke_session(profiles[name], grant_key(profiles[name]), session_id)
    ]


def revoke_left(house: House, session_id: str) -> list[Ending]:
    """Revoke the tokens of a session whose supervisor was killed, wherever they lie.

    Its profiles may have been edited since, and name other grants now.
    """
    from brokerctl.broker.held_grants import profile_for  # noqa: PLC0415 - only where something is left
    from brokerctl.store.slots import find_cut_off  # noqa: PLC0415 - as above

    revoker = house.revoker("exec")
    found = {}
    for entry in house.store.entries(TOKEN):
        slot = entry.value
        if isinstance(slot, Slot) and slot.key.actor == session_id:
            found[slot.key.grant] = slot.profile
    for grant in find_cut_off(house.store):
        if grant.issued is not None and grant.issued.key.actor == session_id:
            found[grant.key] = grant.issued.profile
    return [
        ending
        for key, name in found.items()
        for ending in revoker.revoke_session(
            profile_for(house.plan.profiles, name, key), key, session_id
        )
    ]


def settle_leftovers(house: House) -> tuple[list[Ended], list[BrokerError]]:
    """End what killed sessions left behind, for commands that may talk to an issuer.

    Returns how each token ended, and what failed and stays for the next command.
    """
    from brokerctl.session.leftovers import settle_all  # noqa: PLC0415 - as above

    def revoke_own(session_id: str, _names: tuple[str, ...]) -> list[Ending]:
        return revoke_left(house, session_id)

    tools = tools_of(house)
    return settle_all(tools.store, tools.name_of, revoke_own, tools.system)
