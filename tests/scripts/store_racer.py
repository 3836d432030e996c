"""One racing process: redeems under the lock, and dies in the middle where it is told to.

Arguments: the store's folder, the ring as hex, and a number; processes whose number is not zero
die between intent and commit. Prints the refresh token that it redeemed, so that a test can count.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from brokerctl.keys.ring import parse_ring
from brokerctl.model import GrantKey, TokenKey
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from brokerctl.store.file import FileStore
from brokerctl.store.values import Change, Intent

if TYPE_CHECKING:
    from brokerctl.model import Token
    from brokerctl.store.locked import GrantUnderLock

KEY = GrantKey(issuer="https://issuer.example", client_id="app", scopes=("a", "b"))
SLOT = TokenKey(grant=KEY, scopes=("a",))


def main() -> None:
    """Look, wait for the lock, look again, redeem: as the broker does."""
    folder = open_folder(sys.argv[1])
    assert folder is not None
    store = FileStore(folder, parse_ring(bytes.fromhex(sys.argv[2])))
    os.write(1, b"ready\n")
    sys.stdin.read()  # all start when the test closes the other end
    now = time.time()
    with store.lock_grant(KEY, work_time() + 60) as locked:
        found = store.find_token(SLOT, now, 0)
        if found is None:
            found = _redeem(locked, now, dies=sys.argv[3] != "0")
    os.write(1, f"got {found.value.reveal()}\n".encode())


def _redeem(locked: GrantUnderLock, now: float, *, dies: bool) -> Token:
    grant = locked.state.grant
    assert grant is not None
    assert grant.refresh_token is not None
    earlier = locked.state.earlier_intent
    locked.intend(Intent(kind="refresh", generation=grant.generation, at=now, pid=os.getpid()))
    again = "again" if earlier and earlier.generation == grant.generation else "first"
    os.write(1, f"redeemed {grant.refresh_token.reveal()} {again}\n".encode())
    time.sleep(0.01)
    if dies:
        os._exit(9)
    slot = locked.state.slots[0]
    assert slot.current is not None
    token = slot.current.replace(
        value=Secret("fresh"), fingerprint="fresh", issued_at=now, expires_at=now + 600
    )
    refreshed = grant.replace(refresh_token=Secret("r2"))
    locked.commit(Change(grant=refreshed, token_key=SLOT, token=token))
    return token


if __name__ == "__main__":
    main()
