"""What a helper says of what is nobody's, or can't be known to be anybody's.

Out of the way of a hand-out, which needs none of it.
"""

from __future__ import annotations

from brokerctl import home, output
from brokerctl.errors import BrokerError, UsageError
from brokerctl.helpers import ERASE, FORGET, LIST, STORE
from brokerctl.helpers.door import UNKNOWN, find_owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.helpers import Answer, Helper, Wanted
    from brokerctl.home import Home
    from brokerctl.model import Profile, TokenRequest


def answer_none(
    house: Home, helper: Helper, wanted: Wanted, asked: Callable[[], TokenRequest]
) -> Answer:
    """Answer what is nobody's: refused where nobody else can be asked, or a profile was named."""
    if helper.is_last or wanted.profile is not None:
        whose = f"of '{wanted.profile}'" if wanted.profile is not None else "of any profile"
        house.broker.record_refusal(asked(), UsageError(f"what is asked for is no host {whose}"))
    else:
        _note_other_user(helper, wanted, house.plan.profiles)
    return helper.not_ours()


def _note_other_user(helper: Helper, wanted: Wanted, profiles: Mapping[str, Profile]) -> None:
    """Say where nothing but the user of a URL stands between it and a profile's token."""
    if wanted.username is None or not helper.names_user or wanted.is_foreign:
        return
    _, others = find_owners(helper, wanted.replace(username=None), profiles)
    if others:
        whose = [f"'{one.name}' is for the user {one.username or one.subject}" for one in others]
        way = "set username_match = 'any' if their server looks at the token alone"
        output.note(f"{' and '.join(sorted(whose))}, and the URL names {wanted.username}: {way}")


def answer_unopened(
    helper: Helper, tool: str, wanted: Wanted, error: BrokerError, environ: Mapping[str, str]
) -> Answer:
    """Answer where configuration, keys or store can't be opened: what can't be known is not ours.

    An error would keep git from its next helper, and docker from what is public. Without keys or
    store the configuration alone still says whose a host is: for ours the error is the answer.
    """
    if helper.is_last:
        raise error
    try:
        plan = home.read_plan(environ)
    except BrokerError:
        plan = None  # it is the configuration that is wrong
    if plan is not None and wanted.action != LIST:
        wanted, found = find_owners(helper, wanted, plan.profiles)
        if found:
            raise error
        if tool not in plan.keep:
            return _nothing(helper, wanted)
    output.warn(error.message + UNKNOWN)
    return _nothing(helper, wanted)


def _nothing(helper: Helper, wanted: Wanted) -> Answer:
    """Answer what is not ours, whatever is asked."""
    if wanted.action == LIST:
        return helper.listing({})
    if wanted.action == STORE:
        return helper.not_kept(is_ours=False)
    if wanted.action in {ERASE, FORGET}:
        return helper.forgotten(is_ours=False)
    return helper.not_ours()
