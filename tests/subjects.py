"""Many subjects of one profile, put into a home by the store's own code and without its syncs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from brokerctl import keys
from brokerctl.broker.request import grant_key
from brokerctl.model import Profile, Token, TokenKey
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import System
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from brokerctl.store.file import FileStore
from brokerctl.store.values import Change, Grant

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

    from tests.program import Program

PROFILE = Profile(
    name="work",
    issuer="http://127.0.0.1:9",
    flow="device",
    client_id="app",
    scopes=("read",),
    endpoints=(("token_endpoint", "http://127.0.0.1:9/token"),),
)
CONFIG = """\
[profile.work]
issuer = "http://127.0.0.1:9"
flow = "device"
client_id = "app"
scopes = ["read"]
token_endpoint = "http://127.0.0.1:9/token"
"""
HOUR_S = 3600.0


class Unsynced(System):
    """A disk that may lag behind: what is made with it is gone after a power cut."""

    def fsync(self, fd: FileDescriptorLike) -> None:
        """Do nothing."""

    fdatasync = fsync


def begin(program: Program) -> None:
    """Give a program the profile of the subjects, and a store."""
    program.env["BROKERCTL_KEEPER"] = "file"
    program.config(CONFIG)
    assert program("status").returncode == 0


def open_store(home: str, system: System | None = None) -> FileStore:
    """Open the store of a program's home, as the program does."""
    folder = open_folder(f"{home}/state/v1")
    assert folder is not None
    folder.system = system or folder.system
    ring = keys.open_ring(folder, {})
    assert ring is not None
    return FileStore(folder, ring)


def value_of(subject: str, generation: int = 1) -> str:
    """Return the access token of a subject: no other has the same."""
    return f"access-{generation}-of-{subject}"


def fill(home: str, names: list[str], profile: Profile = PROFILE, **grant: object) -> None:
    """Log these subjects in: a grant and a token each. `grant` has fields of their grants."""
    store, now = open_store(home, Unsynced()), time.time()
    for name in names:
        key = grant_key(profile, name)
        held = Grant(
            key=key,
            profile=profile.name,
            flow=profile.flow,
            generation=0,
            obtained_at=now,
            refresh_token=Secret(f"refresh-of-{name}"),
            sub=f"sub-{name}",
        ).replace(**grant)
        token = Token(
            value=Secret(value_of(name)),
            fingerprint=store.ring.fingerprint(value_of(name)),
            token_type="Bearer",
            scopes=profile.scopes,
            issued_at=now,
            expires_at=now + HOUR_S,
        )
        slot = TokenKey(grant=key, scopes=profile.scopes)
        with store.lock_grant(key, work_time() + 20) as locked:
            locked.commit(Change(grant=held, token_key=slot, token=token, profile=profile.name))
    store.disk.close()


def tenants(count: int, start: int = 0) -> list[str]:
    """Return names of subjects."""
    return [f"tenant-{number}" for number in range(start, start + count)]
