"""Runs one session: decide, obtain every token, start the child, wait, end.

The child is always supervised, even if nothing has to be done at its end (shared tokens, no file)
and execve(2) would save a millisecond. The reasons: every parent, not only a shell, gets 128 + n as
the exit code of signal n; it is the same with a shared and an own token, and one more `--scope` can
make that difference; the end is recorded; masking needs it anyway. The cost: a sleeping process
with 4 MB of its own memory, or 20 MB if HTTP was needed to get a token.
"""

from __future__ import annotations

from brokerctl.broker.request import read_within
from brokerctl.config.paths import SOCKET_VARIABLE
from brokerctl.errors import BrokerError
from brokerctl.freshness import CHILD_MARGIN, last_end
from brokerctl.model import TokenRequest, Value
from brokerctl.platform import signals
from brokerctl.platform.system import os
from brokerctl.session import AWS, SOCKET, child, environment
from brokerctl.session.supervise import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import AccessToken, Profile, Requester
    from brokerctl.secret import Secret
    from brokerctl.session import ExecRequest, Services, Tools
    from brokerctl.session.cleanup import SessionEnd
    from brokerctl.session.environment import ChildVariable
    from brokerctl.session.relay import Masked
    from brokerctl.session.renewal import Renewal
    from brokerctl.session.supervise import ChildEnd

_ID_BYTES = 16
_STDOUT = 1
_ENDING = (signals.TERMINATE, signals.HANGUP, signals.QUIT, signals.INTERRUPT)
_SIGNAL_BASE = 128
_PURPOSE_CHARS = 200


class Prepared(Value):
    """Everything that is decided before the first token is asked for."""

    ask: ExecRequest
    session_id: str
    own: tuple[str, ...]  # profiles with tokens of the session's own
    ends: SessionEnd | None  # None: nothing has to be ended
    path: str  # of the program
    environ: dict[str, str]  # the child's, without its tokens
    wanted: tuple[ChildVariable, ...]
    purpose: str | None
    is_masked: bool
    services: Services | None = None  # where the session has terms


def run(ask: ExecRequest, tools: Tools) -> int:
    """Run a command with its tokens and return the exit code to leave with.

    Raises BrokerError, with its exit code, for whatever goes wrong before the child starts; then
    no token of the session's own is left behind.
    """
    prepared = _prepare(ask, tools)
    ends = prepared.ends
    if ends is not None:
        ends.begin()
    put_back = signals.raise_on(_ENDING)
    tokens: dict[str, AccessToken] = {}
    try:
        prepared = _open_services(prepared, tools)
        _obtain(prepared, tools, tokens)
        mask, environ = _block_and_fill(prepared, tokens)
    except BaseException as error:
        signals.block(_ENDING)  # a second ^C must not interrupt the revocation
        _end(prepared)
        _record_undelivered(prepared, tokens, tools)
        if isinstance(error, signals.InterruptedBySignal):
            return _SIGNAL_BASE + error.number
        raise
    finally:
        put_back()
    try:
        ending = _supervise(prepared, tokens, environ, mask, tools)
    finally:
        _end(prepared)
    if ends is not None:
        ends.report_survivors(_held(prepared, environ))
    _record_end(prepared, f"exit {ending.code}", tools)
    signals.restore(mask)
    if ending.fatal_signal is not None:
        signals.die_of(ending.fatal_signal)
    return ending.code


def _open_services(prepared: Prepared, tools: Tools) -> Prepared:
    """Open what a session with terms serves, so that it is there before the child is."""
    ask, ends = prepared.ask, prepared.ends
    if ends is None or tools.serve is None or not _is_bounded(ask, tools):
        return prepared
    purpose = prepared.purpose
    services = tools.serve(ask, prepared.session_id, prepared.own, purpose, ends)
    return prepared.replace(services=services)


def _is_bounded(ask: ExecRequest, tools: Tools) -> bool:
    return ask.is_bounded or SOCKET_VARIABLE in tools.environ


def _end(prepared: Prepared) -> None:
    """End what is served, and then tokens and files: none is handed out in between."""
    try:
        if prepared.services is not None and not prepared.services.close() and prepared.ends:
            prepared.ends.leave_open()
    finally:
        if prepared.ends is not None:
            prepared.ends.end()


def _prepare(ask: ExecRequest, tools: Tools) -> Prepared:
    """Check all that can be wrong without a request, the command's path included."""
    for name in environment.names_of(ask, tools.default_profile):
        if name not in tools.profiles:  # the broker refuses it, and records that
            asked = TokenRequest(profile=name, requester=tools.requester(""), subject=ask.subject)
            tools.get(asked)
    wanted = environment.plan_variables(ask, tools.profiles, tools.default_profile)
    own = tuple(one.profile.name for one in wanted if is_own(ask, one.profile))
    environ = environment.inherited(
        tools.environ,
        tools.profiles.values(),
        is_clean=ask.is_clean,
        has_socket=SOCKET in ask.serves or SOCKET_VARIABLE in tools.environ,
        has_aws=ask.aws is not None,
    )
    path = child.find_program(ask.command[0], environ)
    session_id = os.urandom(_ID_BYTES).hex()
    purpose = ask.purpose or tools.environ.get("BROKERCTL_PURPOSE") or None
    ask = ask.replace(purpose=purpose[:_PURPOSE_CHARS] if purpose else None)
    for one in wanted:
        name = one.profile.name
        is_single = name in own and bool(one.profile.refresh_ends_previous)
        if is_single or name in read_within(tools.environ):
            # The broker refuses and records it, before another profile's token is obtained. In a
            # circle the session's end would wait for a lock that a parent holds.
            requester = tools.requester(session_id)
            asked = TokenRequest(profile=name, requester=requester, subject=ask.subject)
            tools.get(asked.replace(is_own=name in own))
    return Prepared(
        ask=ask,
        session_id=session_id,
        own=own,
        ends=_find_ends(ask, session_id, own, wanted, tools),
        path=path,
        environ=environ,
        wanted=tuple(wanted),
        purpose=ask.purpose,
        is_masked=_is_masked(ask, tools),
    )


def _is_masked(ask: ExecRequest, tools: Tools) -> bool:
    """Return whether tokens are masked in the child's output: in a CI log, or as asked."""
    if ask.is_masked is not None:
        return ask.is_masked
    return bool(tools.environ.get("CI")) and not os.isatty(_STDOUT)


def _find_ends(
    ask: ExecRequest,
    session_id: str,
    own: tuple[str, ...],
    wanted: list[ChildVariable],
    tools: Tools,
) -> SessionEnd | None:
    has_files, is_bounded = any(one.files for one in wanted), _is_bounded(ask, tools)
    if not own and not has_files and not is_bounded:
        return None
    from brokerctl.session.cleanup import SessionEnd  # noqa: PLC0415 - a shared session starts without it

    return SessionEnd(
        session_id,
        own,
        tools,
        has_files=has_files or is_bounded,
        is_asked=ask.is_own is True,
        asked=tuple(one.profile.name for one in wanted),
        command=ask.command[0],
        filed=tuple(variable for one in wanted for variable in one.files),
        purpose=ask.purpose,
        agent=ask.agent,
        serves=ask.serves if ask.aws is None else (*ask.serves, AWS),
        scopes=ask.scopes,
        resource=ask.resource,
        audience=ask.audience,
        max_ttl_s=ask.ttl_s,
        uses=ask.uses,
        hosts=ask.hosts,
    )


def is_own(ask: ExecRequest, profile: Profile) -> bool:
    """Return whether the session gets its own token for a profile (contract, section 1).

    The option decides, else the profile's `exec`. Else the token is own if the flow needs no person
    or the request narrows, since an own token of a person's grant would cost a refresh each time.
    """
    if ask.is_own is not None:
        return ask.is_own
    if profile.exec_mode is not None:
        return profile.exec_mode == "own"
    narrowings = (ask.scopes, ask.resource, ask.audience, ask.ttl_s, ask.agent)
    return not profile.traits.needs_person or any(one is not None for one in narrowings)


def _obtain(prepared: Prepared, tools: Tools, tokens: dict[str, AccessToken]) -> None:
    """Get one token after the other into `tokens`; if one fails, it has those before it."""
    requester = tools.requester(prepared.session_id)
    get = tools.get if prepared.services is None else prepared.services.get
    for one in prepared.wanted:
        if not one.variables and not one.files:
            continue  # the child asks for it itself
        token = get(_request(prepared, one, requester))
        tokens[one.profile.name] = token
        environment.refuse_endless(prepared.ask, token)
        for text in tools.notices(token):
            tools.warn(text)


def _request(prepared: Prepared, one: ChildVariable, requester: Requester) -> TokenRequest:
    ask, name = prepared.ask, one.profile.name
    return TokenRequest(
        profile=name,
        requester=requester,
        subject=ask.subject,
        scopes=ask.scopes,
        resource=ask.resource,
        audience=ask.audience,
        min_ttl_s=ask.min_ttl_s,
        margin=CHILD_MARGIN,
        max_ttl_s=ask.ttl_s,
        is_own=name in prepared.own,
        purpose=prepared.purpose,
    )


def _block_and_fill(
    prepared: Prepared, tokens: dict[str, AccessToken]
) -> tuple[frozenset[int], dict[str, str]]:
    """Write the files and the environment; from here on signals are blocked and waited for."""
    mask = signals.block(signals.waited())
    try:
        environ = dict(prepared.environ)
        files: dict[str, Secret] = {}
        for one in prepared.wanted:
            if one.profile.name not in tokens:
                continue
            value = tokens[one.profile.name].value
            environment.put_token(environ, one, value)
            files.update((variable, value) for variable in one.files)
        if prepared.ends is not None:
            ends_at = last_end(tokens.values()) if prepared.services is None else None
            environ |= prepared.ends.fill(files, ends_at)
        if prepared.services is not None:
            environ |= prepared.services.variables()
    except BaseException:
        signals.restore(mask)
        raise
    return mask, environ


def _supervise(
    prepared: Prepared,
    tokens: dict[str, AccessToken],
    environ: dict[str, str],
    mask: frozenset[int],
    tools: Tools,
) -> ChildEnd:
    renewal = _make_renewal(prepared, tokens, tools)
    signals.wait_children()
    ours = os.umask(tools.umask) if tools.umask is not None else None
    try:
        started = _start(prepared, tokens, environ, mask, tools)
    except BrokerError:
        _record_end(prepared, "not started", tools)  # the record has the tokens as handed out
        raise
    finally:
        if ours is not None:
            os.umask(ours)
    if prepared.services is not None:
        prepared.services.start()
        _note_child(prepared, started.pid)
    if renewal is not None and prepared.ends is not None:
        prepared.ends.renew(lambda: renewal.begin(started.hide), renewal.finish)
    return started.run()


def _note_child(prepared: Prepared, pid: int) -> None:
    """Let `session list` say which process it is; it does no harm if that fails."""
    if prepared.ends is not None:
        try:
            prepared.ends.note(child=pid)
        except BrokerError:
            return


def _make_renewal(
    prepared: Prepared, tokens: dict[str, AccessToken], tools: Tools
) -> Renewal | None:
    """Return what renews the tokens in files while the child runs; None where there are none."""
    wanted = [one for one in prepared.wanted if one.files]
    if prepared.ends is None or not wanted or tools.open_again is None:
        return None
    from brokerctl.session.renewal import Renewal, TokenInFiles  # noqa: PLC0415 - most have no file

    requester = tools.requester(prepared.session_id)
    held = [
        TokenInFiles(prepared.ask, _request(prepared, one, requester), one, tokens)
        for one in wanted
    ]
    get = None if prepared.services is None else prepared.services.get
    return Renewal(held, prepared.ends, tools, get)


def _start(
    prepared: Prepared,
    tokens: dict[str, AccessToken],
    environ: dict[str, str],
    mask: frozenset[int],
    tools: Tools,
) -> Supervisor | Masked:
    waited, path, words = signals.waited(), prepared.path, prepared.ask.command
    if not prepared.is_masked:
        return Supervisor(child.start(path, words, environ, mask), waited)
    from brokerctl.session import relay  # noqa: PLC0415 - else not a byte is copied

    secrets = environment.secrets_of(tokens.values())
    return relay.start(path, words, environ, mask, waited, secrets, tools.say)


def _held(prepared: Prepared, environ: dict[str, str]) -> list[tuple[str, str]]:
    """Return (variable, value) for each of the session's own tokens or their files."""
    return [
        (variable, environ[variable])
        for one in prepared.wanted
        if one.profile.name in prepared.own
        for variable in (*one.variables, *one.files)
    ]


def _record_undelivered(prepared: Prepared, tokens: dict[str, AccessToken], tools: Tools) -> None:
    """Record that no child was started with the tokens that were handed out."""
    if tokens:
        _record_end(prepared, "not started", tools)


def _record_end(prepared: Prepared, outcome: str, tools: Tools) -> None:
    fields: dict[str, object] = {
        "profiles": [one.profile.name for one in prepared.wanted],
        "requester": {"uid": os.getuid(), "tool": "exec", "session": prepared.session_id},
        "outcome": outcome,
    }
    try:
        tools.record("exec.end", fields)
    except BrokerError as error:
        tools.warn(f"the end is not in the record: {error.message}")
