"""The way of a helper's request: read it, find the profile by URL, ask the broker, answer once.

Nothing is printed before the outcome is known; nothing waits for a person; whatever happens is one
of the five outcomes. The working folder is whatever repository the tool is in.
"""

from __future__ import annotations

import select
import time

from brokerctl import wire
from brokerctl.config.hosts import find_profiles
from brokerctl.errors import BrokerError, UsageError
from brokerctl.helpers import ERASE, HELPERS, Answer, MalformedError
from brokerctl.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Helper, Wanted
    from brokerctl.model import AccessToken, Profile
    from brokerctl.wire import House

_STDIN, _STDOUT = 0, 1
_REQUEST_BYTES = 1 << 20
_WAIT_S = 20.0


def run_words(
    words: list[str], environ: Mapping[str, str], _umask: int | None = None
) -> int | None:
    """Run the words after `helper`; None where they name no helper of the table."""
    if not words or words[0] not in HELPERS:
        return None
    helper = _load(words[0])
    try:
        answer = _answer(helper, words[0], words[1:], environ)
    except MalformedError as error:
        wire.note(f"not a request of {words[0]}: {error}")
        answer = helper.not_ours()
    except BrokerError as error:
        wire.print_error(error)
        answer = helper.refusal(error)
    except Exception as error:  # noqa: BLE001 - the last handler: one line, no traceback, no values
        bug = wire.unexpected(error, environ)
        wire.print_error(bug)
        answer = helper.refusal(bug)
    return _write(answer)


def _load(tool: str) -> Helper:
    module, _, name = HELPERS[tool].partition(":")
    found = __import__(module, fromlist=(name,))
    helper: Helper = getattr(found, name)()
    return helper


def _answer(helper: Helper, tool: str, words: list[str], environ: Mapping[str, str]) -> Answer:
    wanted = helper.read(words, _read_request())
    if isinstance(wanted, Answer):
        return wanted
    house = wire.open_house(environ, may_pass=True)
    found = _find_profiles(wanted, house.plan.profiles)
    if wanted.action == ERASE:
        from brokerctl.helpers.rejected import reject  # noqa: PLC0415 - no hand-out rejects

        for profile in found:
            request = wire.make_request(profile.name, environ, tool)
            reject(house, request, wanted.rejected)
        return Answer()
    if not found:
        return helper.not_ours()
    if len(found) > 1:
        names = " and ".join(sorted(f"'{profile.name}'" for profile in found))
        hint = "give one of them a path, or a username that the URL has too"
        raise UsageError(f"{wanted.url} belongs to {names}", hint=hint)
    token = house.broker.get(wire.make_request(found[0].name, environ, tool))
    return _deliver(house, token, helper.credential(wanted, token, found[0]))


def _deliver(house: House, token: AccessToken, answer: Answer) -> Answer:
    """Write a credential in full, or record that it was not delivered."""
    try:
        wire.write_fully(_STDOUT, answer.stdout)
    except OSError as error:
        house.broker.not_delivered(token)
        raise BrokerError("the credential could not be written to stdout") from error
    return answer.replace(stdout=b"")


def _find_profiles(wanted: Wanted, profiles: Mapping[str, Profile]) -> list[Profile]:
    """Return who the URL and its user belong to; of what is refused, whoever it could be."""
    username = None if wanted.action == ERASE else wanted.username
    try:
        return find_profiles(wanted.url, profiles.values(), username)
    except UsageError:
        return []  # a spelling that no profile's host has, so it is nobody's


def _read_request() -> bytes:
    """Read up to an empty line or the end; MalformedError where neither comes."""
    data, deadline = b"", time.monotonic() + _WAIT_S
    while not (data.endswith(b"\n\n") or data == b"\n"):
        if not select.select([_STDIN], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise MalformedError("it does not end")
        try:
            piece = os.read(_STDIN, 65536)
        except OSError:
            break  # it was closed: nothing is asked
        if not piece:
            break
        data += piece
        if len(data) > _REQUEST_BYTES:
            raise MalformedError("it is too long")
    return data


def _write(answer: Answer) -> int:
    try:
        wire.write_fully(_STDOUT, answer.stdout)
    except OSError:
        return answer.exit_code or 1
    return answer.exit_code
