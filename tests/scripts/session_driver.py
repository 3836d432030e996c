"""Runs `exec` of the real session room on a broker of its own: what the tests of this room start.

The store is a folder of plain files and the tokens are made up, so that these tests depend on
nothing below the room. SESSION_TEST_FOLDER is where everything is noted.
"""

from __future__ import annotations

import binascii
import os
import sys
import time

from brokerctl import jsonlite
from brokerctl.errors import BrokerError, IssuerError, LoginNeededError, UsageError
from brokerctl.model import AccessToken, Profile, Reference, Requester, Value
from brokerctl.platform.system import SYSTEM
from brokerctl.secret import Secret
from brokerctl.session import Tools
from brokerctl.session.run import run
from brokerctl.session.start import parse_exec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

    from brokerctl.model import TokenRequest

FOLDER = os.environ["SESSION_TEST_FOLDER"]
PROFILES: dict[str, dict[str, Any]] = {
    "person": {"flow": "code"},
    "service": {"flow": "client_credentials"},
    "named": {"flow": "code", "env": "NAMED_BY_PROFILE"},
    "single": {"flow": "device", "refresh_ends_previous": True},
    "secretive": {"flow": "code", "client_secret": Reference(kind="env", target=("MY_SECRET",))},
    "broken": {"flow": "client_credentials"},
    "slow": {"flow": "client_credentials"},
    "endless": {"flow": "code"},
    "login": {"flow": "code"},
    "warned": {"flow": "code"},
}


class Entry(Value):
    """An entry of the plain store."""

    name: str
    value: bytes


class PlainLock:
    """No lock."""

    def __enter__(self) -> Self:
        """Take nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give nothing back."""

    def remove(self) -> None:
        """There is no file."""


class PlainStore:
    """Sealed blobs, not sealed."""

    def find_sealed(self, kind: int, name: str) -> bytes | None:
        """Return a blob."""
        try:
            with open(f"{FOLDER}/entry-{kind}-{name}", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def lock_entry(self, _name: str) -> PlainLock:
        """Nobody else is here."""
        return PlainLock()

    def put_sealed(self, kind: int, name: str, data: bytes) -> None:
        """Keep a blob."""
        note("store.put")
        with open(f"{FOLDER}/entry-{kind}-{name}", "wb") as file:
            file.write(data)

    def drop_sealed(self, kind: int, name: str) -> bool:
        """Drop a blob."""
        os.unlink(f"{FOLDER}/entry-{kind}-{name}")
        return True

    def entries(self, kind: int) -> Iterator[Entry]:
        """List blobs."""
        for file_name in sorted(os.listdir(FOLDER)):
            if file_name.startswith(f"entry-{kind}-"):
                with open(f"{FOLDER}/{file_name}", "rb") as file:
                    yield Entry(name=file_name.split("-", 2)[2], value=file.read())


class Ended(Value):
    """How a token ended."""

    profile: str
    outcome: str
    until: float | None = None
    reason: str = ""
    notice: str = ""


def note(event: str, **fields: object) -> None:
    """Append one line that the tests read."""
    with open(f"{FOLDER}/notes", "a", encoding="utf-8") as file:
        file.write(jsonlite.dumps({"event": event, **fields}) + "\n")


def get(request: TokenRequest) -> AccessToken:
    """Hand a made-up token out, or fail as the profile's name says."""
    fields = {**request.as_dict(), "requester": request.requester.as_dict()}
    note("get", **fields)
    name = request.profile
    if request.is_own and PROFILES[name].get("refresh_ends_previous"):
        raise UsageError("one access token at a time")
    if name == "broken":
        raise IssuerError("the issuer is down")
    if name == "login":
        raise LoginNeededError("no grant", hint="run 'brokerctl login login'")
    if name == "slow":
        time.sleep(30)
    return AccessToken(
        value=Secret(f"token-of-{name}-{binascii.crc32(FOLDER.encode()):010}"),
        token_type="Bearer",
        expires_at=None if name == "endless" else time.time() + 3600,
        scopes=request.scopes or (),
        profile=name,
        issuer="https://issuer.example",
        subject=None,
        resource=(),
        fingerprint="f" * 32,
        source="cache",
        warning="it is odd" if name == "warned" else None,
    )


def revoke_own(session_id: str, profiles: tuple[str, ...]) -> list[Ended]:
    """Revoke, or fail as the test wants it."""
    how = os.environ.get("SESSION_TEST_REVOKE", "revoked")
    note("revoke", session=session_id, profiles=profiles, how=how)
    if how == "raise":
        raise IssuerError("no way to the issuer")
    return [Ended(profile=name, outcome=how, reason="why") for name in profiles]


def say(line: str) -> None:
    """Write for people; a terminal that is gone is no failure."""
    try:
        os.write(2, line.encode() + b"\n")
    except OSError:
        return


def tools() -> Tools:
    """Return the tools of a session."""
    made = {
        name: Profile(name=name, issuer="https://issuer.example", client_id="c", **fields)
        for name, fields in PROFILES.items()
    }
    return Tools(
        profiles=made,
        environ={k: v for k, v in os.environ.items() if not k.startswith("SESSION_TEST")},
        default_profile=os.environ.get("BROKERCTL_PROFILE"),
        requester=lambda session: Requester(uid=os.getuid(), pid=1, tool="exec", session=session),
        get=get,
        revoke_own=revoke_own,
        record=lambda event, fields: note(event, **fields),
        store=PlainStore(),
        name_of=lambda session_id: session_id,
        say=say,
        warn=lambda text: say(f"brokerctl: warning: {text}"),
        system=SYSTEM,
        umask=int(os.environ["SESSION_TEST_UMASK"], 8)
        if "SESSION_TEST_UMASK" in os.environ
        else None,
    )


def main() -> int:
    """Run one command line."""
    if sys.argv[1:] == ["settle"]:
        from brokerctl.session import leftovers  # noqa: PLC0415 - what a session must not load

        ended, failed = leftovers.settle_all(PlainStore(), lambda name: name, revoke_own, SYSTEM)
        note("settled", ended=[one.profile for one in ended], failed=len(failed))
        return 0
    ask = parse_exec(sys.argv[1:])
    if ask is None:
        say("not in the grammar")
        return 2
    try:
        code = run(ask, tools())
        if os.environ.get("SESSION_TEST_MODULES"):
            note("modules", names=sorted(sys.modules))
    except BrokerError as error:
        say(f"brokerctl: error: {error.message}")
        return error.exit_code
    return code


os._exit(main())
