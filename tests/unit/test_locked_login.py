"""What a login sends can be stored: the lock, the intent and the signals, in their order."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from brokerctl.broker.locked_login import LockedLogin
from brokerctl.errors import IssuerError, StoreError
from brokerctl.model import GrantKey
from brokerctl.oauth.message import HttpRequest, HttpResponse
from brokerctl.oauth.steps import Send, ShowUserCode, Wait
from brokerctl.store.values import Intent
from tests.store_room import RING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN_URL = "https://issuer.example/token"
TOKEN = Send(request=HttpRequest(method="POST", url=TOKEN_URL))
OTHER = Send(request=HttpRequest(method="POST", url="https://issuer.example/device"))
CODE = ShowUserCode(user_code="A", verification_uri="https://v", complete=None, expires_at=0.0)
ANSWER = HttpResponse(status=200, body=b"{}")
KEY = GrantKey(issuer="https://issuer.example", client_id="c")


class Diary:
    """Stands for desk, store and lock alike, and writes down what happens."""

    def __init__(self, earlier: Intent | None = None, *, is_full: bool = False) -> None:
        self.events: list[str] = []
        self.intents: list[Intent] = []
        self.next_generation = 8
        self.is_full = is_full
        self.error: IssuerError | None = None
        self.state = SimpleNamespace(earlier_intent=earlier, intent=None, grant=None)

    def do(self, step: object) -> HttpResponse:
        """Carry out a step."""
        masked = signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.events.append(type(step).__name__ + (" masked" if masked else ""))
        if self.error is not None:
            raise self.error
        return ANSWER

    @contextmanager
    def lock_grant(self, key: GrantKey, deadline: float) -> Iterator[Diary]:
        """Take the lock."""
        assert key == KEY
        assert deadline > 0
        self.events.append("lock")
        try:
            yield self
        finally:
            self.events.append("unlock")

    def intend(self, intent: Intent) -> None:
        """Write an intent, unless the disk is full."""
        if self.is_full:
            raise StoreError("no space left on device")
        self.events.append("intend")
        self.intents.append(intent)

    def find_grant(self, _key: GrantKey) -> None:
        """Hold none: these logins bring nothing."""

    def enqueue(self, *_: object) -> None:
        """Queue what a killed login may have brought."""

    def resolve(self) -> None:
        """Clear an earlier intent: it has been told of."""
        self.state.earlier_intent = None

    def withdraw(self) -> None:
        """Clear it."""
        self.events.append("withdraw")


def guard(diary: Diary) -> LockedLogin:
    """Wrap a diary."""
    return LockedLogin(diary, diary, RING, KEY, TOKEN_URL)  # type: ignore[arg-type]  # it stands for a store


def test_code() -> None:
    """Only the token request is under the lock, after the intent, with signals waiting."""
    diary = Diary()
    with guard(diary) as guarded:
        assert guarded.do(OTHER) is ANSWER
        guarded.do(TOKEN)
        held: object = guarded.hold()
        assert held is diary
    assert diary.events == ["Send", "lock", "intend", "Send masked", "unlock"]
    assert diary.intents[0].kind == "login"
    assert diary.intents[0].generation == 8
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_device() -> None:
    """A device lets go of the lock while it waits, and takes its intent back."""
    diary = Diary()
    with guard(diary) as guarded:
        for step in (OTHER, CODE, Wait(seconds=1), TOKEN, Wait(seconds=1), TOKEN):
            guarded.do(step)
    poll = ["lock", "intend", "Send masked"]
    assert diary.events == [
        *("Send", "ShowUserCode", "Wait"),
        *(*poll, "withdraw", "unlock", "Wait"),
        *(*poll, "unlock"),
    ]


def test_failed() -> None:
    """A login that fails leaves neither intent nor lock."""
    diary = Diary()
    diary.error = IssuerError("down")
    with pytest.raises(IssuerError), guard(diary) as guarded:
        guarded.do(TOKEN)
    assert diary.events[-2:] == ["withdraw", "unlock"]


def test_full_disk() -> None:
    """Where nothing can be stored, nothing is sent."""
    diary = Diary(is_full=True)
    with guard(diary) as guarded, pytest.raises(StoreError):
        guarded.do(TOKEN)
    assert "Send masked" not in diary.events
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize(("kind", "is_kept"), [("refresh", True), ("login", False)])
def test_earlier_intent(kind: str, *, is_kept: bool) -> None:
    """A refresh that was cut off stays explained, whatever becomes of the login."""
    earlier = Intent(kind=kind, generation=7, at=1.0)
    diary = Diary(earlier)
    diary.error = IssuerError("down")
    with pytest.raises(IssuerError), guard(diary) as guarded:
        guarded.do(TOKEN)
    assert (diary.intents == [earlier]) == is_kept
    assert ("withdraw" in diary.events) != is_kept
