"""A helper's answers that hand out no token: not ours, rejected, stored, listed.

They have a file of their own since a hand-out, which needs none of them, must stay light.
"""

from __future__ import annotations

import time

from brokerctl import output
from brokerctl.broker.events import event, record_fields
from brokerctl.errors import BrokerError, UsageError
from brokerctl.freshness import LOCK_WAIT_S
from brokerctl.helpers import (
    ERASE,
    FORGET,
    GET,
    LIST,
    STORE,
    UNKNOWN,
    USERNAME,
    complete,
    find_owners,
)
from brokerctl.helpers.outcomes import Forgotten, NotOurs, Stored, Users
from brokerctl.model import SUPERSEDED
from brokerctl.platform.work_clock import work_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.helpers import Caller, CredentialRequest, Helper, HelperReply
    from brokerctl.home import Home
    from brokerctl.model import Profile, TokenRequest
    from brokerctl.secret import Secret


def answer_none(
    home: Home,
    helper: Helper,
    wanted: CredentialRequest,
    asked: Callable[[], TokenRequest],
) -> HelperReply:
    """Answer "not ours"; an error if the tool can ask no other helper, or has named a profile."""
    if helper.traits.is_last or wanted.profile is not None:
        whose = f"of '{wanted.profile}'" if wanted.profile is not None else "of any profile"
        home.broker.record_refusal(asked(), UsageError(f"what is asked for is no host {whose}"))
    else:
        _note_other_user(helper, wanted, home.offered)
    return helper.answer(NotOurs())


def _note_other_user(
    helper: Helper, wanted: CredentialRequest, profiles: Mapping[str, Profile]
) -> None:
    """Note on stderr that a profile has the URL, but not its user."""
    if wanted.username is None or not helper.traits.names_user or wanted.is_foreign:
        return
    _, others = find_owners(helper, wanted.replace(username=None), profiles)
    if others:
        whose = [f"'{one.name}' is for the user {one.username or one.subject}" for one in others]
        way = "set username_match = 'any' if their server looks at the token alone"
        output.note(f"{' and '.join(sorted(whose))}, and the URL names {wanted.username}: {way}")


def answer_unopened(
    helper: Helper,
    tool: str,
    wanted: CredentialRequest,
    error: BrokerError,
    environ: Mapping[str, str],
) -> HelperReply:
    """Answer if configuration, keys or store can't be opened: an unknown host counts as not ours.

    An error would keep git from its next helper, and docker from public images. Without keys or
    store the configuration still says whose a host is: for one of ours the error is the answer.
    """
    if helper.traits.is_last:
        raise error
    from brokerctl.config.compile import read_plan  # noqa: PLC0415 - it reads TOML

    try:
        plan = read_plan(environ)
    except BrokerError:
        plan = None  # the configuration itself is wrong
    if plan is not None and wanted.action != LIST:
        wanted, found = find_owners(helper, wanted, plan.profiles)
        if found:
            raise error
        if tool not in plan.keep:
            return _nothing(helper, wanted)
    output.warn(error.message + UNKNOWN)
    return _nothing(helper, wanted)


def _nothing(helper: Helper, wanted: CredentialRequest) -> HelperReply:
    """Answer "not ours", whatever the request was."""
    if wanted.action == LIST:
        return helper.answer(Users(users={}))
    if wanted.action == STORE:
        return helper.answer(Stored(is_kept=False, is_ours=False))
    if wanted.action in {ERASE, FORGET}:
        return helper.answer(Forgotten(is_ours=False))
    return helper.answer(NotOurs())


def reject(
    home: Home, request: TokenRequest, secret: Secret | None, *, is_any: bool = False
) -> bool:
    """Serve this token no more, if it is the one in the slot; the grant stays as it is.

    `is_any`: whichever token it is, since some tools do not say which one was rejected.

    A process that comes late with an old token must not drop the new one. The issuer may still
    accept a token that one server refused: `revoke` reaches it as any superseded token.
    """
    if (secret is None and not is_any) or _is_others(request):
        return False
    decided = home.broker.find_decision(request)
    held = home.store.find_token(decided.token_key, time.time(), 0)
    if held is None:
        return False
    fingerprint = held.fingerprint
    if secret is not None and home.ring.fingerprint(secret.reveal()) != fingerprint:
        return False
    with home.store.lock_grant(decided.grant_key, work_time() + LOCK_WAIT_S) as locked:
        locked.settle(fingerprint, SUPERSEDED)
    reason = "a server refused it" if secret is not None else "its tool forgets it"
    fields = record_fields(decided, held)
    home.log.append(*event("token.rejected", fields, outcome=SUPERSEDED, reason=reason))
    return True


def _is_others(request: TokenRequest) -> bool:
    """Return whether a session asks with a token that is not its own.

    Security: what a session refuses must not make all others get a new one from the issuer.
    """
    return request.requester.session is not None and not request.is_own


def answer_change(
    home: Home, helper: Helper, tool: str, wanted: CredentialRequest, requests: list[TokenRequest]
) -> HelperReply:
    """Answer a tool that drops a credential, or offers one to be kept."""
    dropped = 0
    if tool in home.kept_for:
        from brokerctl.helpers.custody import drop, keep  # noqa: PLC0415 - nothing is, by default

        if wanted.action != STORE:
            dropped = drop(home, tool, wanted)
        elif not requests and keep(home, tool, wanted):  # nothing is kept for the host of a profile
            return helper.answer(Stored(is_kept=True, is_ours=False))
    is_ours = bool(requests)
    if wanted.action == STORE:
        is_known = any(is_current(home, request, wanted.offered) for request in requests)
        return helper.answer(Stored(is_kept=is_known, is_ours=is_ours))
    for request in requests:
        reject(home, request, wanted.rejected, is_any=wanted.action == FORGET)
    return helper.answer(Forgotten(is_ours=is_ours or dropped > 0))


def answer_name(helper: Helper, wanted: CredentialRequest, profile: Profile) -> HelperReply:
    """Answer with the user of a profile, where a tool asks for that alone."""
    return helper.answer(Users(users={wanted.url or "": profile.username or USERNAME}))


def answer_list(caller: Caller, home: Home, helper: Helper, tool: str) -> HelperReply:
    """List the hosts with a live grant, each with its user."""
    return helper.answer(Users(users=find_usernames(caller, home, helper, tool)))


def find_usernames(caller: Caller, home: Home, helper: Helper, tool: str) -> dict[str, str]:
    """Return the username of every host for which `get` would have an answer without a person.

    That includes credentials that the tool had us keep, if `[helpers] keep` allows it. Each host is
    read as `get` reads it: if two profiles have it, one of them may be the answer, or neither.
    """
    asking = home.make_request("", tool)
    said = helper.traits.variables_of(caller.environ)
    hosts = [host for _, one in sorted(home.offered.items()) for host in one.hosts]
    if tool in home.kept_for:
        from brokerctl.helpers.custody import find_places  # noqa: PLC0415 - nothing is, by default

        hosts += [place for place, _ in find_places(home, tool)]
    found: dict[str, str] = {}
    spelling = helper.traits.spelling
    for host in dict.fromkeys(hosts):
        address = spelling(host) if spelling else None
        if address is None:
            continue
        wanted = helper.read([GET], address.encode(), said)
        username = None if wanted.reply else _find_username(caller, home, helper, wanted, asking)
        if username is not None:
            found[host] = username
    return found


def _find_username(
    caller: Caller, home: Home, helper: Helper, wanted: CredentialRequest, asking: TokenRequest
) -> str | None:
    """Return the user of the answer to this request; None where it would be refused."""
    tool = asking.requester.tool
    wanted, owners = find_owners(helper, wanted, home.offered)
    if not owners and tool in home.kept_for:
        from brokerctl.helpers.custody import find_here  # noqa: PLC0415 - as above

        one = find_here(home, tool, wanted)
        return None if one is None or one.is_over(time.time()) else one.username
    if len(owners) != 1:
        return None
    try:
        request = asking.replace(profile=owners[0].name, url=wanted.url)
        home.broker.check(complete(caller, helper, request, wanted, owners[0]))
    except BrokerError:
        return None
    return owners[0].username or USERNAME


def is_current(home: Home, request: TokenRequest, secret: Secret | None) -> bool:
    """Return whether a secret is the token that the store would answer this request with."""
    decided = home.broker.find_decision(request)
    held = decided.find_in(home.store_of(decided.job))
    if held is None or secret is None:
        return False
    return home.ring.fingerprint(secret.reveal()) == held.fingerprint
