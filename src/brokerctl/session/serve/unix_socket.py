"""The session's socket: HTTP over a Unix socket, for programs in the session (contract, section 7).

`GET /` lists what the session may ask for, `GET /token/PROFILE` gives the JSON of `get --json`,
`POST /helper` answers as a tool's helper would. `POST /session` begins a session in this
one, whose requests come with `/in/KEY` before the path; `DELETE /in/KEY/session` ends it.
Errors are the JSON of `--json`, with a status that says what kind it is.
"""

from __future__ import annotations

import socket
import struct
import time
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from brokerctl import jsonlite
from brokerctl.errors import BrokerError, SessionEndedError, StoreError, UsageError
from brokerctl.freshness import CHILD_MARGIN
from brokerctl.get import as_json, parse_duration, split_scopes, unique
from brokerctl.model import Value
from brokerctl.platform.system import os
from brokerctl.session.serve import DeskRequest, nested
from brokerctl.session.serve.desk import asker_of
from brokerctl.session.serve.http import GoneError, HttpReply, RequestError, SessionServer
from brokerctl.session.serve.refusal import refusal
from brokerctl.session.token_files import SOCKET_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.model import Profile
    from brokerctl.session.serve.desk import SessionDesk
    from brokerctl.session.serve.http import Limits, ServedRequest

OURS = "brokerctl-client"  # the header of our own programs: their parent is the one who asks
_MOST_PATH = 107  # bytes of a Unix socket's path
_BACKLOG = 512
_MOST_PAIRS = 64  # in a query
_PEER = struct.Struct("3i")  # pid, uid, gid: SO_PEERCRED of unix(7)
_LISTS = ("scope", "resource", "audience")
_QUERY = (*_LISTS, "min_ttl", "fresh", "for", "purpose", "margin")
_JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


class ServedSocket(Value):
    """A session's socket: its server, and what answers there."""

    server: SessionServer
    answers: UnixSocket

    def start(self) -> None:
        """Begin to answer."""
        self.server.start()

    def close(self) -> None:
        """End the sessions in this one, and all connections."""
        self.answers.end_inner()
        self.server.close()


def open_socket(folder: str, desk: SessionDesk, limits: Limits | None = None) -> ServedSocket:
    """Make the socket in the session's private folder; its server is not yet started.

    UsageError where the path is too long.
    """
    answers = UnixSocket(desk)
    server = SessionServer(listen(folder), answers.answer, is_owners, limits)
    return ServedSocket(server=server, answers=answers)


def listen(folder: str) -> socket.socket:
    """Make the socket in a folder; UsageError where its path is too long, StoreError else."""
    path = f"{folder}/{SOCKET_NAME}"
    if len(path.encode()) > _MOST_PATH:
        raise UsageError(
            f"the path of a socket in {folder} would be too long",
            hint="set XDG_RUNTIME_DIR to a shorter one",
        )
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        reason = os.strerror(error.errno or 0).lower()
        raise StoreError(f"no socket can be made in {folder}: {reason}") from error
    return listener


def inner_path(key: str) -> str:
    """Return what comes before the path of a request in the inner session of this key."""
    return f"{nested.PREFIX}{key}"


def is_owners(sock: socket.socket) -> bool:
    """Return whether the process at the other end is the session owner's."""
    return _peer(sock)[1] == os.geteuid()


def _peer(sock: socket.socket) -> tuple[int, int]:
    pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return pid, uid


class UnixSocket:
    """Answers the requests of one session, and of the sessions in it."""

    def __init__(self, desk: SessionDesk) -> None:
        self._desk = desk
        self._inner = nested.NestedSessions(desk)

    def answer(self, asked: ServedRequest) -> HttpReply | None:
        """Answer one request; None where it was answered, as far as that was possible."""
        try:
            path, _, query = asked.target.partition("?")
            desk, path = self._inner.find(path)
            return self._route(desk, asked, path.split("/")[1:], query)
        except BrokerError as error:
            # Its hint names commands that a session does not have.
            return refusal(error, has_hint=False)

    def end_inner(self) -> None:
        """End the sessions in this one."""
        self._inner.end_all()

    def _route(
        self, desk: SessionDesk, asked: ServedRequest, path: list[str], query: str
    ) -> HttpReply | None:
        words = [unquote(one) for one in path]
        if desk.is_ended:
            raise SessionEndedError("this session has ended")
        if words == [""]:
            _allow(asked, "GET")
            return _json(listing(desk))
        if words[0] == "token" and len(words) in {1, 2}:
            _allow(asked, "GET")
            return self._token(desk, asked, (*words, "")[1], query)
        if words == ["helper"]:
            _allow(asked, "POST")
            self._helper(desk, asked)
            return None
        if words == ["session"]:
            _allow(asked, "POST", "DELETE")
            if asked.method == "DELETE":
                self._inner.end(desk)
                return _json({"schema": 1})
            begun = self._inner.begin(desk, _body(asked))
            return _json({**listing(begun.desk), "key": begun.key})
        raise RequestError(404, "there is nothing here")

    def _token(
        self, desk: SessionDesk, asked: ServedRequest, name: str, query: str
    ) -> HttpReply | None:
        wanted = read_query(query)
        url = wanted.pop("for", None)
        if url is not None and not name:
            from brokerctl.config.hosts import match_profile  # noqa: PLC0415 - most name a profile

            name = match_profile(url, desk.open(0).offered)
        token = desk.get(
            DeskRequest(profile=name, url=url, tool="get", pid=_asker(asked), **wanted)
        )
        return _deliver(
            asked, _json(as_json(token, time.time())), lambda: desk.not_delivered(token)
        )

    def _helper(self, desk: SessionDesk, asked: ServedRequest) -> None:
        """Answer a tool as its helper would, with the code that does so outside of a session."""
        from brokerctl.helpers import session_answer, session_question  # noqa: PLC0415 - few ask so

        question, pid = session_question.parse_question(asked.read_body()), _asker(asked)

        def send(reply: session_question.SessionReply) -> None:
            body = session_question.render_reply(reply)
            try:
                asked.reply(HttpReply(status=HTTPStatus.OK, body=body, headers=_JSON))
            except GoneError as error:
                raise OSError from error

        with desk.busy():
            if not session_answer.answer_question(question, lambda: desk.open(pid), send):
                raise GoneError


def listing(desk: SessionDesk) -> dict[str, Any]:
    """Return what a session may ask for: nothing that exists outside of it."""
    terms = desk.terms
    found = desk.open(0).offered
    return {
        "schema": 1,
        "session": terms.id,
        "agent": terms.agent,
        "purpose": terms.purpose,
        "narrowed": [_narrowing(one) for one in terms.narrowings],
        "profiles": [_profile(one) for one in found.values()],
    }


def _narrowing(one: Any) -> dict[str, Any]:  # noqa: ANN401 - a Narrowing of `desk`
    named = {name: value for name, value in one.as_dict().items() if value is not None}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in named.items()
    }


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "issuer": profile.issuer,
        "flow": profile.flow,
        "scopes": list(profile.scopes),
        "resource": list(profile.resource),
        "audience": list(profile.audience),
        "hosts": list(profile.hosts),
        "username": profile.username,
        "env": profile.env,
    }


def read_query(query: str) -> dict[str, Any]:
    """Return what a query asks for, as `DeskRequest` has it; RequestError for anything else."""
    given = _read_pairs(query)
    found: dict[str, Any] = {}
    if "scope" in given:
        found["scopes"] = split_scopes(given["scope"])
    found |= {name: unique(given[name]) for name in ("resource", "audience") if name in given}
    if "min_ttl" in given:
        found["min_ttl_s"] = _seconds(given["min_ttl"][0])
    if "margin" in given:  # an `exec` in this session asks
        found["margin"] = CHILD_MARGIN
    if "fresh" in given:
        found["is_fresh"] = given["fresh"][0] not in {"", "0", "false"}
    return found | {name: given[name][0] for name in ("for", "purpose") if given.get(name, [""])[0]}


def _read_pairs(query: str) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=_MOST_PAIRS
        )
    except ValueError as error:
        raise RequestError(400, "no query that we read") from error
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in _QUERY:
            raise RequestError(400, f"the query has no '{name[:20]}'")
        given.setdefault(name, []).append(value)
    if any(len(values) > 1 for name, values in given.items() if name not in _LISTS):
        raise RequestError(400, "the query says something twice")
    return given


def _seconds(text: str) -> float:
    seconds = parse_duration(f"{text}s" if text.isdigit() else text)
    if seconds is None:
        raise RequestError(400, "min_ttl is no duration")
    return seconds


def _json(body: dict[str, Any], status: int = HTTPStatus.OK) -> HttpReply:
    return HttpReply(
        status=status, body=jsonlite.dumps(body).encode("ascii") + b"\n", headers=_JSON
    )


def _allow(asked: ServedRequest, *methods: str) -> None:
    if asked.method not in methods:
        raise RequestError(405, f"{' or '.join(methods)} alone")


def _body(asked: ServedRequest) -> dict[str, Any]:
    try:
        body = jsonlite.loads(asked.read_body())
    except ValueError as error:
        raise RequestError(400, "no JSON") from error
    if not isinstance(body, dict):
        raise RequestError(400, "no JSON object")
    return body


def _asker(asked: ServedRequest) -> int:
    peer, _ = _peer(asked.connection.sock)
    return asker_of(peer, is_ours=asked.header(OURS) is not None)


def _deliver(
    asked: ServedRequest, reply: HttpReply, not_delivered: Callable[[], object]
) -> HttpReply | None:
    """Write a reply that holds a token, or record that it was not delivered."""
    try:
        asked.reply(reply)
    except GoneError:
        not_delivered()
        raise
    return None
