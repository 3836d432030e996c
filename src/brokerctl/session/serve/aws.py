"""AWS's container credentials: an endpoint on loopback that AWS's SDKs ask by themselves.

`AWS_CONTAINER_CREDENTIALS_FULL_URI` names it, and the file that
`AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` names has what an SDK shows there, read anew for each
request. An SDK asks again before its credentials end, so that a program of hours refreshes without
brokerctl's help. The child's environment holds no credentials, and not what opens the endpoint.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from __future__ import annotations

import base64
import secrets
import socket

from brokerctl import jsonlite
from brokerctl.errors import BrokerError, UsageError
from brokerctl.freshness import SDK_MARGIN, timestamp
from brokerctl.model import NOT_BEARER
from brokerctl.oauth import aws_credentials
from brokerctl.secret import Secret
from brokerctl.session.serve import DeskRequest
from brokerctl.session.serve.http import GoneError, HttpReply, SessionServer
from brokerctl.session.serve.refusal import refusal
from brokerctl.session.token_files import write_files
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from brokerctl.model import AccessToken, Profile
    from brokerctl.platform.system import System
    from brokerctl.session.serve.http import Limits, ServedRequest

    class Desk(Protocol):
        """What the endpoint asks of `desk.SessionDesk`."""

        @property
        def is_ended(self) -> bool: ...  # noqa: D102 - the session's end has begun
        def get(self, asked: DeskRequest) -> AccessToken: ...  # noqa: D102 - decided, counted, recorded
        def not_delivered(self, token: AccessToken) -> None: ...  # noqa: D102 - one record


URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
WORD_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
# Security: a `[default]` in the user's file of static keys would go before the endpoint.
_KEYS_FILE, _NO_FILE = "AWS_SHARED_CREDENTIALS_FILE", "/dev/null"
TOOL = "aws"
_PATH = "/credentials"
_WORD = "aws-authorization"  # no variable can be named so, and no file of `--file`
_LOOPBACK = "127.0.0.1"
_WORD_BYTES = 32
_BACKLOG = 128
_TEXT_CHARS = 500
_JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


class AwsEndpoint:
    """Serves the credentials of one profile to who has read the session's file."""

    def __init__(
        self,
        desk: Desk,
        profile: Profile,
        folder: str,
        system: System,
        limits: Limits | None = None,
    ) -> None:
        """Listen, and answer nobody before `start`; UsageError for a profile of other tokens.

        `folder` is the session's private one, where the file of the authorization token is made.
        """
        if profile.traits.token_type != NOT_BEARER:
            raise UsageError(
                f"'{profile.name}' has no AWS credentials",
                hint='name a profile with flow = "aws_web_identity"',
            )
        self._desk = desk
        self._profile = profile.name
        self._word = base64.urlsafe_b64encode(secrets.token_bytes(_WORD_BYTES)).rstrip(b"=")
        write_files(folder, {_WORD: Secret(self._word.decode())}, system)
        self._file = f"{folder}/{_WORD}"
        self._host, self._server = self._listen(limits)

    def _listen(self, limits: Limits | None) -> tuple[str, SessionServer]:
        try:
            listener = socket.create_server((_LOOPBACK, 0), backlog=_BACKLOG)
        except OSError as error:
            raise BrokerError("no port of loopback can be listened on") from error
        host = f"{_LOOPBACK}:{listener.getsockname()[1]}"
        return host, SessionServer(listener, self._answer, limits=limits)

    def variables(self) -> dict[str, str]:
        """Return the child's variables; those that go before are in `environment.BEFORE_AWS`."""
        uri = f"http://{self._host}{_PATH}"
        return {URI: uri, WORD_FILE: self._file, _KEYS_FILE: _NO_FILE}

    def start(self) -> None:
        """Begin to answer; requests that came before have waited."""
        self._server.start()

    def close(self) -> None:
        """Close everything; the file goes with the session's folder."""
        self._server.close()

    def _answer(self, request: ServedRequest) -> HttpReply | None:
        refused = self._refuse(request)
        if refused is not None:
            return refused
        try:
            # At every use of credentials with less left an SDK asks: so they get no other.
            asked = DeskRequest(profile=self._profile, margin=SDK_MARGIN, tool=TOOL)
            token = self._desk.get(asked)
        except BrokerError as error:
            return _error(refusal(error).status, error.name, error.message)
        try:
            request.reply(HttpReply(status=200, body=_render(token), headers=_JSON))
        except GoneError:
            self._desk.not_delivered(token)
            raise
        return None

    def _refuse(self, request: ServedRequest) -> HttpReply | None:
        """Return what a request gets that gets nothing else; None for one that is to be decided."""
        if (request.header("host") or "").lower() != self._host:
            # Security: a page of the web may have pointed its own name here.
            return _error(421, "name", "this is no server of that name")
        if request.target != _PATH:
            return _error(404, "path", "not found")
        if request.method != "GET":
            return _error(405, "method", "GET alone")
        shown = (request.header("authorization") or "").encode("latin-1")
        if not secrets.compare_digest(shown, self._word):
            return _error(401, "authorization", f"show what the file of {WORD_FILE} has")
        if self._desk.is_ended:
            return _error(410, "ended", "the session has ended")
        return None


def _render(token: AccessToken) -> bytes:
    """Return the credentials as SDKs read them; they end at a rule's limit where that is before."""
    assert token.expires_at is not None  # noqa: S101 - STS always says when they end
    words = aws_credentials.words_of(token.value)
    body = {
        "AccessKeyId": words["AccessKeyId"],
        "SecretAccessKey": words["SecretAccessKey"],
        "Token": words["SessionToken"],
        "Expiration": timestamp(token.expires_at),
    }
    return jsonlite.dumps(body).encode("ascii") + b"\n"


def _error(status: int, code: str, message: str) -> HttpReply:
    """Return an error with the two members that SDKs show."""
    body = {"code": code, "message": safe(message, _TEXT_CHARS)}
    headers = (*_JSON, ("Brokerctl-Error", code))
    return HttpReply(
        status=status, body=jsonlite.dumps(body).encode("ascii") + b"\n", headers=headers
    )
