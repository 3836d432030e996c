"""Custody of a tool's own credentials: kept in our store if `[helpers] keep` names the tool.

Security: a credential is handed out only for the protocol, host, port, path and user that it was
stored for, only to its owner, and never without a record. Nothing is kept for a profile's hosts.
"""

from __future__ import annotations

import time

from brokerctl import freshness, policy
from brokerctl.broker.events import event, shown_decision, shown_requester
from brokerctl.broker.request import REFUSED
from brokerctl.config.hosts import Url, split_pattern
from brokerctl.errors import BrokerError, DeniedError, StoreError, UsageError
from brokerctl.helpers.outcomes import OwnCredential
from brokerctl.model import size_of
from brokerctl.store import tool_credentials as store_kept
from brokerctl.store.values import ToolCredential

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.broker.question import Asked
    from brokerctl.helpers import Caller, CredentialRequest, Helper, HelperReply
    from brokerctl.home import Home
    from brokerctl.model import Decision, TokenRequest
    from brokerctl.secret import Secret

_DEFAULT_PORTS = {"https": 443, "http": 80}


def keep(home: Home, tool: str, wanted: CredentialRequest, *, is_latest: bool = False) -> bool:
    """Keep what a tool offers, in place of what was kept for the same place; False if it can't be.

    `is_latest`: it becomes the newest of its place, even if the same one was kept already.
    """
    url = place_of(wanted)
    if url is None or wanted.username is None or wanted.offered is None or not home.is_kept:
        return False
    now, terms = time.time(), wanted.terms
    one = ToolCredential(
        tool=tool,
        protocol=url.scheme,
        host=url.host,
        port=url.port,
        path=url.path,
        username=wanted.username,
        secret=wanted.offered,
        kept_at=now,
        expires_at=terms.expires_at,
        refresh_token=terms.refresh_token,
        ends_at=None if terms.lifetime_s is None else now + terms.lifetime_s,
    )
    if one.is_over(now):
        return False
    decision = _decide(home, tool, one)
    try:
        store_kept.put(
            home.store,
            one,
            lambda here: _is_news(home, one, None if is_latest else here, decision),
        )
    except StoreError:
        _record(home, "credential.not_kept", one, decision, outcome="failed")
        raise
    return True


def find_here(home: Home, tool: str, wanted: CredentialRequest) -> ToolCredential | None:
    """Return what is kept for exactly this place and user; UsageError if the place is ambiguous."""
    if place_of(wanted) is None:
        raise UsageError("its host or path is not spelled in the plain way")
    return next((one for _, one in _matching(home, tool, wanted)), None)


def find_places(home: Home, tool: str) -> list[tuple[str, str]]:
    """Return the URL and the user of each credential that is kept for a tool; the newest first."""
    now = time.time()
    held = (one for _, one in store_kept.all_kept(home.store) if one.tool == tool)
    return [(url_of(one), one.username) for one in held if not one.is_over(now)]


def hand_out(
    caller: Caller, home: Home, helper: Helper, tool: str, wanted: CredentialRequest
) -> HelperReply | None:
    """Answer with the newest credential of exactly this place; None if there is none."""
    now = time.time()
    for name, one in _matching(home, tool, wanted):
        if one.is_over(now):
            gone = store_kept.drop(home.store, name, lambda found: found.is_over(now))
            if gone is not None:
                _record(home, "credential.dropped", gone, reason="its time is over")
            continue
        decision = _decide(home, tool, one)
        _record(home, "credential.handed_out", one, decision)
        try:
            answer = helper.answer(OwnCredential(credential=one))
            caller.deliver(answer)
        except OSError as error:
            _record(home, "credential.not_delivered", one, decision, outcome="failed")
            raise BrokerError("the credential could not be written to stdout") from error
        return answer.replace(stdout=b"")
    return None


def drop(home: Home, tool: str, wanted: CredentialRequest) -> int:
    """Drop what a tool erases; if it names a password, that one alone.

    Return how many were dropped.
    """
    refused, dropped = wanted.rejected, 0

    def is_meant(one: ToolCredential) -> bool:
        if refused is None:
            return True
        return _fingerprint(home, refused) == _fingerprint(home, one.secret)

    for name, _ in _matching(home, tool, wanted, any_path=True):
        gone = store_kept.drop(home.store, name, is_meant)
        if gone is not None:
            reason = "a server refused it" if refused is not None else "its tool forgets it"
            _record(home, "credential.dropped", gone, reason=reason)
            dropped += 1
    return dropped


def release(home: Home, one: ToolCredential, path: str) -> None:
    """Decide and record that a credential goes into its tool's own file, before it is written."""
    decision = _decide(home, one.tool, one)
    _record(home, "credential.exported", one, decision, by="helper", file=path)


def not_released(home: Home, one: ToolCredential, path: str) -> None:
    """Record that the file was not written after all."""
    _record(home, "credential.not_exported", one, by="helper", file=path, outcome="failed")


def forget(
    home: Home, name: str, one: ToolCredential, by: str, reason: str = "a person forgets it"
) -> bool:
    """Drop one that a person names, recorded first; False if it was replaced meanwhile.

    Security: its server still accepts it, and the person relies on our word that it is gone here.
    """

    def is_meant(found: ToolCredential) -> bool:
        if found != one:
            return False
        _record(home, "credential.dropped", one, by=by, reason=reason)
        return True

    try:
        return store_kept.drop(home.store, name, is_meant) is not None
    except StoreError:
        _record(home, "credential.not_dropped", one, by=by, outcome="failed")
        raise


def _matching(
    home: Home, tool: str, wanted: CredentialRequest, *, any_path: bool = False
) -> list[tuple[str, ToolCredential]]:
    """Return what was stored for this place; `any_path`: with any path, if the request has none."""
    url = place_of(wanted)
    if url is None:
        return []
    return [
        (name, one)
        for name, one in store_kept.all_kept(home.store)
        if (one.tool, one.protocol, one.host, one.port) == (tool, url.scheme, url.host, url.port)
        and (one.path == url.path or (any_path and not url.path))
        and wanted.username in {None, one.username}
    ]


def place_of(wanted: CredentialRequest) -> Url | None:
    """Return the place of a credential; None for a URL that could be read in two ways."""
    url = find_place(wanted.url or "")
    is_web = url is not None and url.scheme in _DEFAULT_PORTS
    return url if is_web or wanted.is_foreign else None


def find_place(text: str) -> Url | None:
    """Return the place that a URL means; None as for `place_of`."""
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    is_other = bool(mark) and scheme not in _DEFAULT_PORTS
    host, slash, path = rest.partition("/")
    try:
        url = split_pattern(f"https://{host or 'none'}" if is_other else text)
    except UsageError:
        return None
    if url.host.startswith("*") or url.query is not None:
        return None
    if not is_other:
        return url
    # Of another protocol: without a port its usual one is meant, which is not known here.
    is_said = bool(host) and (url.port != _DEFAULT_PORTS["https"] or host.endswith(f":{url.port}"))
    is_plain = not url.path and all("!" <= char <= "~" for char in path)
    if not is_plain or not (host or path):
        return None
    return Url(
        scheme=scheme,
        host=url.host if host else "",
        port=url.port if is_said else 0,
        path=slash + path if path else "",
    )


def _is_news(
    home: Home, one: ToolCredential, here: ToolCredential | None, decision: Decision
) -> bool:
    """Record what is about to be kept, if it is new: git stores a password after every use."""
    if here is not None and here.replace(kept_at=one.kept_at) == one:
        return False
    _record(home, "credential.kept", one, decision)
    return True


def _decide(home: Home, tool: str, one: ToolCredential) -> Decision:
    """Return what allows it, with who said yes; a refusal is recorded, then raised."""
    request = home.make_request("", tool, url_of(one))
    decision = _find_decision(home, request)
    try:
        return _allow(home, f"what {tool} had us keep", request, decision, one)
    except DeniedError as error:
        reason = decision.reason if decision.effect == "deny" else error.message
        _record(home, "credential.denied", one, decision, outcome="denied", reason=reason)
        raise


def _allow(
    home: Home, label: str, request: TokenRequest, decision: Decision, one: ToolCredential
) -> Decision:
    if decision.effect == "ask":
        held = home.broker.approval().ask(_asked(label, request, decision, one))
        return decision.replace(approval=held)
    if decision.effect in REFUSED:
        raise DeniedError(f"{label}: {decision.reason}", rule=decision.rule)
    return decision


def _asked(label: str, request: TokenRequest, decision: Decision, one: ToolCredential) -> Asked:
    from brokerctl.broker.question import KEPT, Asked  # noqa: PLC0415 - few rules ask

    whose = request.replace(subject=one.username)
    return Asked(action=KEPT, label=label, profile=None, request=whose, decision=decision)


def _find_decision(home: Home, request: TokenRequest) -> Decision:
    return policy.decide_kept(request, home.find_rules(None, request, None))


def _record(
    home: Home,
    name: str,
    one: ToolCredential,
    decision: Decision | None = None,
    *,
    by: str | None = None,
    **more: str,
) -> None:
    """Append a record. Security: it holds no secret, and without it no credential is handed out.

    `decision`: the one that was made before, if any. `by`: the command of ours that a person has
    run, if it was not the tool that asked.
    """
    request = home.make_request("", by or one.tool, url_of(one))
    decision = decision or _find_decision(home, request)
    fields: dict[str, Any] = {
        "url": url_of(one),
        "username": one.username,
        "fingerprint": _fingerprint(home, one.secret),
        "size": size_of(one.secret),
        "expires_at": _time(one.expires_at),
        "kept_until": _time(one.ends_at),
        "requester": shown_requester(request.requester),
        "decision": shown_decision(decision),
        "purpose": request.purpose or one.tool,
    }
    home.log.append(*event(name, fields, more))


def url_of(one: ToolCredential) -> str:
    """Return the place of a credential as a URL."""
    port = "" if one.port == _DEFAULT_PORTS.get(one.protocol, 0) else f":{one.port}"
    return f"{one.protocol}://{one.host}{port}{one.path}"


def _fingerprint(home: Home, secret: Secret) -> str:
    return home.ring.fingerprint(secret.reveal())


def _time(at: float | None) -> str | None:
    return None if at is None else freshness.timestamp(at)
