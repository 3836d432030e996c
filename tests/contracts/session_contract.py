"""What a session's supervisor answers a tool is what the tool gets outside of one.

It is part of each helper's contract, so that a new tool is tried here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from brokerctl.helpers import load
from tests.helper_room import HelperRoom, greeted
from tests.program import Program

if TYPE_CHECKING:
    import pytest

POOL = (
    "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools"
    "/team/providers/login"
)
ROLE = "arn:aws:iam::123456789012:role/deploy"
PLAIN = 'issuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
AWS = (
    f'flow = "aws_web_identity"\naws = {{ role = "{ROLE}" }}\n'
    'exchange = { subject = { file = "/run/token" } }\n'
)
DENY = '[policy]\ndefault = "deny"\n[[policy.rule]]\nname = "n"\neffect = "deny"\n'
DENY += 'when = { profile = "forge" }\n'


class SessionContract:
    """Inherited by each helper's contract; `config` is what its tool demands of a profile."""

    name: ClassVar[str]
    words: ClassVar[list[str]]
    request: ClassVar[bytes]
    url: ClassVar[str | None]
    environ: ClassVar[dict[str, str]] = {}
    token: ClassVar[str]
    secret: ClassVar[str | None] = None  # what of the token is in any answer; None: all
    config: ClassVar[str] = PLAIN

    def room(self, trace_dir: str, *, policy: str = "", host: str | None = None) -> HelperRoom:
        """Return a home whose one profile has the tool's host."""
        url = host or self.url or "https://h.example"
        place = url.partition("?")[0].removesuffix("/")
        hosts = f'hosts = ["{place}"]\n' if self.url else ""  # of an aws profile there are none
        return HelperRoom(Program(trace_dir), f"[profile.forge]\n{self.config}{hosts}{policy}")

    def compare(self, room: HelperRoom, capfd: pytest.CaptureFixture[str]) -> bytes:
        """Ask both ways; return the stdout that both have, without what greets the tool."""
        words = [self.name, *self.words]
        direct = room.direct(words, self.request, self.environ)
        capfd.readouterr()
        inside = room.inside(words, self.request, self.environ)
        assert capfd.readouterr() == ("", ""), "nothing is written to our own streams"
        assert greeted(load(self.name), inside)[:2] == direct[:2]
        if not load(self.name).traits.is_silent:  # then nobody hears it
            assert inside.stderr == direct.stderr
        return inside.stdout

    def test_a_session_gets_the_same_token(
        self, trace_dir: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """From another thread of another process, letter by letter."""
        room = self.room(trace_dir)
        room.hold("forge", self.token)
        assert (self.secret or self.token).encode() in self.compare(room, capfd)

    def test_a_session_is_refused_alike(
        self, trace_dir: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Where a person has to log in first, and where the policy says no."""
        self.compare(self.room(trace_dir), capfd)
        room = self.room(trace_dir, policy=DENY)
        room.hold("forge", self.token)
        assert self.token.encode() not in self.compare(room, capfd)

    def test_a_session_has_nothing_for_a_stranger(
        self, trace_dir: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Whose host is no profile's."""
        room = self.room(trace_dir, host="https://another.example")
        room.hold("forge", self.token)
        if self.url is not None:
            assert self.token.encode() not in self.compare(room, capfd)
