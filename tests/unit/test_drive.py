"""The driver carries out a flow's steps and hands back what came of them, errors too."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.effects import drive
from brokerctl.effects.drive import PersonInteraction, refuse_without_person, run
from brokerctl.errors import IssuerError, LoginNeededError
from brokerctl.oauth.message import HttpRequest, HttpResponse
from brokerctl.oauth.steps import Listen, Send, ShowUserCode, Visit, Wait
from brokerctl.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Generator

REQUEST = HttpRequest(method="GET", url="https://issuer.example/")


class Net:
    """Answers every request, or fails it."""

    def __init__(self, error: IssuerError | None = None) -> None:
        self.error = error
        self.deadlines: list[float] = []

    def send(self, request: HttpRequest, deadline: float) -> HttpResponse:
        """Answer with 204."""
        assert request is REQUEST
        self.deadlines.append(deadline)
        if self.error is not None:
            raise self.error
        return HttpResponse(status=204)


def test_steps() -> None:
    """Each step's answer goes back into the flow, and its return value is the answer."""

    def flow() -> Generator[Any, Any, Any]:
        response = yield Send(request=REQUEST)
        uri = yield Listen()
        nothing = yield Wait(seconds=0)
        return response.status, uri, nothing

    desk = PersonInteraction(Net(), {})
    answer: Any = run(flow(), desk)
    status, uri, nothing = answer
    assert (status, nothing) == (204, None)
    assert uri.startswith("http://127.0.0.1:")
    desk.close()


def test_errors_go_into_the_flow() -> None:
    """A failed request can be survived by the flow; one that it does not survive comes out."""

    def flow() -> Generator[Any, Any, Any]:
        try:
            yield Send(request=REQUEST)
        except IssuerError:
            return "survived"

    answer: Any = run(flow(), PersonInteraction(Net(IssuerError("down")), {}))
    assert answer == "survived"


def test_interrupted() -> None:
    """A flow that is interrupted is closed, so that its own clean-up runs."""
    seen: list[str] = []

    def flow() -> Generator[Any, Any, Any]:
        try:
            yield Wait(seconds=1)
        finally:
            seen.append("closed")

    class Interrupting:
        def do(self, step: object) -> object:
            raise KeyboardInterrupt(step)

    with pytest.raises(KeyboardInterrupt):
        run(flow(), Interrupting())
    assert seen == ["closed"]


@pytest.mark.parametrize("port", [None, 0])
def test_port(port: int | None) -> None:
    """The command's port counts where the flow wants none of its own."""
    desk = PersonInteraction(Net(), {}, port=port)
    assert desk.do(Listen()).endswith("/callback")
    desk.close()


def test_user_code_is_escaped(capfd: pytest.CaptureFixture[str]) -> None:
    """What the issuer wrote is shown as it is, but for what could draw on the terminal."""
    desk = PersonInteraction(Net(), {"TERM": "xterm"})
    for code in ("WDJB-mjht", "A\x1b[2J\u202eB"):
        desk.do(
            ShowUserCode(
                user_code=code, verification_uri="https://v.example/", complete=None, expires_at=0
            )
        )
    shown = capfd.readouterr().err
    assert " WDJB-mjht " in shown
    assert "A\\x1b[2J\\u202eB" in shown
    assert "\x1b" not in shown
    assert "█" not in shown


def test_visit_without_anybody() -> None:
    """Where no browser starts and no terminal is there, the visit fails instead of waiting."""
    desk = PersonInteraction(Net(), {"BROWSER": "/nonexistent"})
    redirect_uri = desk.do(Listen())
    visit = Visit(
        url="https://issuer.example/",
        redirect_uri=redirect_uri,
        state=Secret("s"),
        accept=lambda _: True,
    )
    with pytest.raises(LoginNeededError, match="BROWSER names '/nonexistent'"):
        desk.do(visit)
    desk.close()


def test_a_device_s_wait_ends() -> None:
    """A device may take as long as the login's wait, counted from when the code is shown."""
    step = ShowUserCode(
        user_code="A", verification_uri="https://v.example/", complete=None, expires_at=1e12
    )
    for wait_s, error in ((300, None), (0, LoginNeededError)):
        desk = PersonInteraction(Net(), {}, timeout_s=wait_s)
        desk.do(step)
        with pytest.raises(error, match="within 0s") if error else contextlib.nullcontext():
            desk.do(Wait(seconds=0))


class HasTerminal:
    """Stands for a terminal."""


@pytest.mark.parametrize(
    ("flow", "environ", "options", "is_asked", "is_refused"),
    [
        ("code", {}, {}, False, True),
        ("code", {}, {"paste": HasTerminal()}, False, False),
        ("code", {"BROWSER": "x"}, {}, False, False),
        ("code", {"BROWSER": "x", "CI": "1"}, {}, False, False),
        ("code", {"CI": "1"}, {"no_browser": True}, False, False),
        ("code", {"CI": "1"}, {}, True, True),
        ("code", {"CI": "1", "DISPLAY": ":0"}, {}, False, True),
        ("device", {}, {}, False, False),
        ("device", {"CI": "1"}, {}, False, True),
        ("device", {"CI": "1"}, {}, True, False),
    ],
)
def test_who_is_there(
    flow: str, environ: dict[str, str], options: dict[str, Any], *, is_asked: bool, is_refused: bool
) -> None:
    """The table of contract, section 1: terminal, BROWSER, device and --no-browser; CI ends it."""
    desk = PersonInteraction(Net(), environ, **options)
    with pytest.raises(LoginNeededError) if is_refused else contextlib.nullcontext():
        refuse_without_person(desk, "p", flow, is_asked=is_asked)


def test_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stderr that is gone does not end a login."""

    def broken(fd: int, data: bytes) -> int:
        raise BrokenPipeError(fd, data)

    monkeypatch.setattr(os, "write", broken)
    drive._say("hello")  # noqa: SLF001 - the one place that writes
