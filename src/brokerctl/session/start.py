"""Starts a session: parses the written grammar of `exec` without Typer, and makes its `Tools`.

`exec [-p PROFILE]… [--env N=P]… [--file N=P]… [--scope S]… [--resource R]… [--audience A]…
[--subject N] [--ttl D] [--min-ttl D] [--purpose T] [--revoke|--keep] [--mask|--no-mask]
[--clean-env] -- CMD…`. Any other line, also a wrong one, goes to the full program, which explains
it.
"""

from __future__ import annotations

from brokerctl import output
from brokerctl.broker.events import event
from brokerctl.config.paths import SOCKET_VARIABLE
from brokerctl.config.plan import default_profile
from brokerctl.errors import BrokerError, UsageError
from brokerctl.get import parse_duration, split_scopes, unique
from brokerctl.home import make_token_request, open_home
from brokerctl.platform.system import SYSTEM
from brokerctl.session import ExecRequest, Tools
from brokerctl.session.run import run
from brokerctl.store.entry import plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.broker.revoke import Ending
    from brokerctl.home import Home
    from brokerctl.model import GrantKey, Profile, Requester
    from brokerctl.session import Services
    from brokerctl.session.cleanup import SessionEnd

_LISTS = ("--profile", "--env", "--file", "--scope", "--resource", "--audience", "--allow-host")
_SERVED = ("--socket", "--gateway")
_BOUNDS = ("--agent", "--uses", "--rate")
_SINGLES = ("--subject", "--ttl", "--min-ttl", "--purpose", "--aws", *_BOUNDS)
_FLAGS = ("--revoke", "--keep", "--clean-env", "--mask", "--no-mask", *_SERVED)
_OPPOSITES = (("--revoke", "--keep"), ("--mask", "--no-mask"))
_SHORT = {"-p": "--profile"}
_STDERR = 2
_INTERRUPTED = 130


def parse_exec(words: list[str]) -> ExecRequest | None:
    """Read the words after `exec`; None for anything outside the grammar.

    Raises UsageError for an option of a later version: it is never ignored.
    """
    given = _read(words)
    if given is None or any(no in given and yes in given for yes, no in _OPPOSITES):
        return None
    ttl_s = _seconds(given, "--ttl")
    min_ttl_s = _seconds(given, "--min-ttl")
    if ttl_s == -1 or min_ttl_s == -1:
        return None
    try:
        env, files = parse_pairs("--env", given), parse_pairs("--file", given)
        bounds = _parse_bounds(given)
    except UsageError:
        return None
    return ExecRequest(
        command=tuple(given["--"]),
        profiles=tuple(given.get("--profile", ())),
        env=env,
        files=files,
        subject=given["--subject"][0] if "--subject" in given else None,
        scopes=split_scopes(given["--scope"]) if "--scope" in given else None,
        resource=unique(given.get("--resource")),
        audience=unique(given.get("--audience")),
        ttl_s=ttl_s,
        min_ttl_s=min_ttl_s,
        purpose=given["--purpose"][0] if "--purpose" in given else None,
        is_own=True if "--revoke" in given else False if "--keep" in given else None,
        is_clean="--clean-env" in given,
        is_masked=True if "--mask" in given else False if "--no-mask" in given else None,
        aws=given["--aws"][0] if "--aws" in given else None,
        **bounds,
    )


def _parse_bounds(given: dict[str, list[str]]) -> dict[str, Any]:
    """Return the terms of a session by the names of ExecRequest; most have none."""
    if not given.keys() & {*_SERVED, "--allow-host", *_BOUNDS}:
        return {}
    from brokerctl.session.bounds import parse_bounds  # noqa: PLC0415 - as above

    agent, uses, rate = (given[name][0] if name in given else None for name in _BOUNDS)
    is_on = tuple(name in given for name in _SERVED)
    return parse_bounds(agent, uses, rate, given.get("--allow-host"), is_on=is_on)


def _read(words: list[str]) -> dict[str, list[str]] | None:
    """Return the values by option; the words after `--` are the value of `--`."""
    given: dict[str, list[str]] = {}
    position = 0
    while position < len(words):
        name, equals, value = words[position].partition("=")
        name = _SHORT.get(name, name) if not equals else name
        position += 1
        if name == "--" and not equals:
            given["--"] = words[position:]
            return given if given["--"] and given["--"][0] else None
        if name in _FLAGS and not equals:
            given[name] = []
            continue
        if name not in _LISTS and name not in _SINGLES:
            return None
        if not equals:
            value = words[position] if position < len(words) else ""
            position += 1
        if (
            not value
            or (value.startswith("-") and not equals)
            or (name in _SINGLES and name in given)
        ):
            return None
        given.setdefault(name, []).append(value)
    return None


def _seconds(given: dict[str, list[str]], name: str) -> float | None:
    """Return an option's seconds; None if it was not given, -1 if it is not a duration."""
    if name not in given:
        return None
    seconds = parse_duration(given[name][0])
    return -1 if seconds is None else seconds


def parse_pairs(option: str, given: dict[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """Split each `NAME=PROFILE` of an option; raises UsageError."""
    pairs = []
    for text in given.get(option, ()):
        name, equals, profile = text.partition("=")
        if not equals or not name or not profile:
            raise UsageError(f"'{text}' is not NAME=PROFILE", hint=f"write {option} NAME=PROFILE")
        pairs.append((name, profile))
    return tuple(pairs)


def run_words(words: list[str], environ: Mapping[str, str], umask: int | None = None) -> int | None:
    """Run the words after `exec` if they are in the written grammar; None if they are not."""
    try:
        ask = parse_exec(words)
    except BrokerError as error:
        return output.print_error(error)
    return None if ask is None else run_ask(ask, environ, umask)


def run_ask(ask: ExecRequest, environ: Mapping[str, str], umask: int | None = None) -> int:
    """Run one session, or print the error; return the exit code.

    `umask` is the caller's own, for the child, if this process has changed it.
    """
    try:
        if SOCKET_VARIABLE in environ:
            from brokerctl.session.inner_session import run_inner  # noqa: PLC0415 - most are in none

            return run_inner(ask, environ, umask)
        first = ask.profiles[0] if ask.profiles else None
        home = open_home(environ, may_use_memory=True, profile=first)
        home.broker.asks_here = True
        return run(ask, tools_of(home, umask, ask.subject))
    except BrokerError as error:
        return output.print_error(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last handler: one line, no traceback, no values
        return output.print_error(output.unexpected(error, environ))


def tools_of(home: Home, umask: int | None = None, subject: str | None = None) -> Tools:
    """Return the `Tools` of a session from an open Home, for one subject of its profiles."""

    def requester(session_id: str) -> Requester:
        asked = make_token_request("", home.environ, "exec")
        return asked.requester.replace(session=session_id)

    def revoke_own(session_id: str, names: tuple[str, ...]) -> list[Ending]:
        return revoke_session(home, session_id, names, subject)

    def grants_of(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(home.store.name_of, own_grants(home, names, subject)))

    def is_kept(name: str) -> bool:
        profile = home.plan.profiles[name]
        return home.is_kept and not _is_unkept(profile, home.key_of(profile, subject))

    return Tools(
        profiles=home.plan.profiles,
        environ=home.environ,
        default_profile=default_profile(home.plan, home.environ),
        requester=requester,
        get=home.broker.get,
        revoke_own=revoke_own,
        record=lambda name, fields: home.log.append(*event(name, fields)),
        store=home.store,
        name_of=lambda session_id: plain_name(home.ring.name_key, "session", session_id),
        say=lambda line: output.write_line(_STDERR, line),
        warn=output.warn,
        notices=home.notices,
        system=SYSTEM,
        grants_of=grants_of,
        umask=umask,
        is_kept=is_kept,
        serve=lambda *asked: _serve(home, umask, *asked),
        check=home.broker.check,
        open_again=lambda: tools_of(home.open_again(), umask, subject),
    )


def _serve(
    home: Home,
    umask: int | None,
    ask: ExecRequest,
    session_id: str,
    own: tuple[str, ...],
    purpose: str | None,
    ends: SessionEnd,
) -> Services:
    from brokerctl.session.serve.services import open_services  # noqa: PLC0415 - most serve nothing

    def tools_again(again: Home) -> Tools:
        return tools_of(again, umask, ask.subject)

    return open_services(home, tools_again, ask, session_id, own, purpose, ends)


def revoke_session(
    home: Home, session_id: str, names: tuple[str, ...], subject: str | None = None
) -> list[Ending]:
    """Revoke the session's own tokens of these profiles, which have not changed meanwhile."""
    ended: list[Ending] = []
    for key, profile in own_grants(home, names, subject).items():
        revoker = home.revoker("exec", is_unkept=_is_unkept(profile, key))
        ended += revoker.revoke_session(profile, key, session_id)
    return ended


def own_grants(
    home: Home, names: tuple[str, ...], subject: str | None = None
) -> dict[GrantKey, Profile]:
    """Return the grants of which a session has tokens of its own, each before its sources.

    They are the grants of these profiles, and of the profiles whose tokens they exchange.
    """
    profiles = home.plan.profiles
    found: dict[GrantKey, Profile] = {}
    level = [(profiles[name], subject) for name in names]
    while level:
        for profile, whose in level:
            key = home.key_of(profile, whose)
            found.pop(key, None)  # what several exchange comes after the last of them
            found[key] = profile
        names = tuple(name for profile, _ in level for name in profile.source_names)
        level = [(profiles[name], None) for name in names if profiles[name].is_own_as_source]
    return found


def _is_unkept(profile: Profile, key: GrantKey) -> bool:
    """Return whether a job's tokens end with this process, since nobody knows which job it is."""
    return profile.job_source is not None and key.job is None
