"""The endpoint of AWS's SDKs: credentials for who has read the session's file, and for no other."""

from __future__ import annotations

import http.client
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import (
    BrokerError,
    DeniedError,
    IssuerError,
    LoginNeededError,
    SessionEndedError,
    UsageError,
)
from brokerctl.freshness import SDK_MARGIN, timestamp
from brokerctl.model import NOT_BEARER, AccessToken, Profile
from brokerctl.oauth import aws_credentials
from brokerctl.platform.system import SYSTEM
from brokerctl.secret import Secret
from brokerctl.session.serve.aws import URI, WORD_FILE, AwsEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brokerctl.session.serve import DeskRequest

WAIT_S = 60.0
PROFILE = Profile(
    name="deploy", issuer="https://sts.example", flow="aws_web_identity", client_id="c"
)
WORDS = {"AccessKeyId": "ASIA1", "SecretAccessKey": "s/+e=", "SessionToken": "t" * 900}
ENDS_AT = 2_000_000_000.0


class FakeDesk:
    """Hands out one role's credentials, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[DeskRequest] = []
        self.undelivered = 0
        self.is_ended = False
        self.error: BrokerError | None = None

    def get(self, asked: DeskRequest) -> AccessToken:
        """Return the credentials, or fail."""
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return AccessToken(
            value=Secret(aws_credentials.render(WORDS, timestamp(ENDS_AT + 3600))),
            token_type=NOT_BEARER,
            expires_at=ENDS_AT,
            scopes=(),
            profile=asked.profile,
            issuer=PROFILE.issuer,
            subject=None,
            resource=(),
            fingerprint="f" * 32,
            source="cache",
        )

    def not_delivered(self, _: AccessToken) -> None:
        """Note it."""
        self.undelivered += 1


class Room:
    """An endpoint that answers, and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.desk = FakeDesk()
        self.folder = str(folder)
        os.chmod(folder, 0o700)
        self.endpoint = AwsEndpoint(self.desk, PROFILE, self.folder, SYSTEM)
        self.environ = self.endpoint.variables()
        scheme, _, rest = self.environ[URI].partition("://")
        self.host, _, path = rest.partition("/")
        assert scheme == "http"
        self.path = f"/{path}"
        self.endpoint.start()

    def ask(self, method: str = "GET", path: str | None = None, **headers: str | None) -> Any:  # noqa: ANN401 - a triple
        """Return status, headers and JSON of an answer."""
        given: dict[str, str | None] = {"Host": self.host, "Authorization": self.word(), **headers}
        link = http.client.HTTPConnection(self.host, timeout=WAIT_S)
        try:
            kept = {name: value for name, value in given.items() if value is not None}
            link.request(method, self.path if path is None else path, headers=kept)
            answer = link.getresponse()
            return answer.status, dict(answer.getheaders()), json.loads(answer.read())
        finally:
            link.close()

    def word(self) -> str:
        """Return what an SDK shows."""
        with open(self.environ[WORD_FILE], encoding="ascii") as file:
            return file.read()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Return a room whose endpoint is closed afterwards."""
    made = Room(tmp_path)
    yield made
    made.endpoint.close()


def test_credentials_as_the_sdks_read_them(room: Room) -> None:
    """They end when the rules end them, and have as much left as an SDK wants."""
    status, headers, body = room.ask()
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (
        200,
        "application/json",
        "no-store",
    )
    assert body == {
        "AccessKeyId": WORDS["AccessKeyId"],
        "SecretAccessKey": WORDS["SecretAccessKey"],
        "Token": WORDS["SessionToken"],
        "Expiration": timestamp(ENDS_AT),
    }
    (asked,) = room.desk.asked
    assert (asked.profile, asked.margin, asked.tool) == ("deploy", SDK_MARGIN, "aws")


def test_the_environment_holds_no_secret(room: Room) -> None:
    """No credentials, nor what opens the endpoint: that is in a private file of the session's."""
    assert set(room.environ) == {URI, WORD_FILE, "AWS_SHARED_CREDENTIALS_FILE"}
    assert room.environ["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert os.path.dirname(room.environ[WORD_FILE]) == room.folder
    assert stat.S_IMODE(os.stat(room.environ[WORD_FILE]).st_mode) == 0o600
    assert room.word() not in " ".join(room.environ.values())
    assert len(room.word()) == 43


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (401, {"Authorization": None}),
        (401, {"Authorization": ""}),
        (401, {"Authorization": "x" * 43}),
        (401, {"Authorization": "é"}),
        (404, {"path": "/"}),
        (404, {"path": "/credentials/"}),
        (404, {"path": "/credentials?x=1"}),
        (405, {"method": "POST"}),
        (405, {"method": "HEAD"}),
        (421, {"Host": "evil.example"}),
        (421, {"Host": "localhost"}),
    ],
)
def test_all_else_gets_nothing(room: Room, status: int, how: dict[str, Any]) -> None:
    """And asks the desk nothing."""
    if how.get("method") == "HEAD":
        link = http.client.HTTPConnection(room.host, timeout=WAIT_S)
        link.request("HEAD", room.path, headers={"Authorization": room.word()})
        assert link.getresponse().status == status
        link.close()
    else:
        found, _, body = room.ask(**how)
        assert (found, set(body)) == (status, {"code", "message"})
        assert "ASIA1" not in json.dumps(body)
    assert room.desk.asked == []


def test_a_word_with_more_behind_it_is_another(room: Room) -> None:
    """Also with less."""
    word = room.word()
    assert [
        room.ask(Authorization=one)[0] for one in (word + "x", word[:-1], f"Bearer {word}")
    ] == [401] * 3


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DeniedError("rule 'x' denies it"), 403),
        (LoginNeededError("no grant"), 401),
        (IssuerError("STS is down"), 502),
        (SessionEndedError("this session has ended"), 410),
        (UsageError("no such profile"), 400),
        (BrokerError("the store is full\x1b[31m"), 503),
    ],
)
def test_a_refusal_says_why(room: Room, error: BrokerError, status: int) -> None:
    """In the two members that SDKs show, made safe for a terminal."""
    room.desk.error = error
    found, headers, body = room.ask()
    assert (found, body["code"], headers["Brokerctl-Error"]) == (status, error.name, error.name)
    assert body["message"].startswith(error.message[:15])
    assert "\x1b" not in body["message"]


def test_after_the_end_nothing_is_asked(room: Room) -> None:
    """The desk would refuse it too; it need not open the store for that."""
    room.desk.is_ended = True
    assert room.ask()[0] == 410
    assert room.desk.asked == []


def test_after_the_close_nobody_answers(room: Room) -> None:
    """A connection is refused at once."""
    room.endpoint.close()
    with pytest.raises(ConnectionRefusedError):
        room.ask()


def test_who_hangs_up_got_nothing(room: Room) -> None:
    """The record says so of credentials that could not be written."""
    room.desk.error = None
    original = room.desk.get

    def get(asked: DeskRequest) -> AccessToken:
        link.close()
        time.sleep(0)
        return original(asked).replace(
            value=Secret(aws_credentials.render(big, "2030-01-01T00:00:00Z"))
        )

    big = {**WORDS, "SessionToken": "t" * 20_000_000}  # more than a socket holds
    room.desk.get = get  # type: ignore[method-assign]  # as a slow one
    link = http.client.HTTPConnection(room.host, timeout=WAIT_S)
    link.request("GET", room.path, headers={"Authorization": room.word()})
    until = time.monotonic() + WAIT_S
    while not room.desk.undelivered and time.monotonic() < until:
        time.sleep(0.005)
    assert room.desk.undelivered == 1


def test_a_profile_of_other_tokens_is_refused(tmp_path: Path) -> None:
    """Before the child starts, and before anything listens."""
    other = PROFILE.replace(flow="client_credentials")
    with pytest.raises(UsageError, match="'deploy' has no AWS credentials"):
        AwsEndpoint(FakeDesk(), other, str(tmp_path), SYSTEM)
    assert os.listdir(tmp_path) == []
