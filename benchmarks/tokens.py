"""A warm `get` in a store of 10,000 tokens, as a ratio to the same with 10."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from common import Issuer, clean_install, paired, show, time_once, workplace
from warm import set_up

from brokerctl.home import Home, open_home
from brokerctl.model import GrantKey, Token, TokenKey
from brokerctl.secret import Secret
from brokerctl.store import codec
from brokerctl.store.entry import TOKEN, grant_name, token_name
from brokerctl.store.values import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW, MANY = 10, 10_000


def slots(house: Home, issuer: str, count: int) -> Iterator[Slot]:
    """Yield slots: half of them of the grant that is asked for, the others of 100 more."""
    profile = house.plan.profiles["warm"]
    asked = GrantKey(issuer=profile.issuer, client_id=profile.client_id, scopes=profile.scopes)
    now = time.time()
    for number in range(count):
        other = GrantKey(issuer=issuer, client_id=f"app-{number % 100}", scopes=("read",))
        value = f"token-{number:06}-{'x' * 40}"
        token = Token(
            value=Secret(value),
            fingerprint=house.ring.fingerprint(value),
            token_type="Bearer",
            scopes=("read",),
            issued_at=now,
            expires_at=now + 3600,
        )
        grant = other if number % 2 else asked
        key = TokenKey(grant=grant, scopes=(f"scope-{number}",))
        yield Slot(key=key, profile="warm", current=token)


def fill(env: dict[str, str], issuer: str, count: int) -> None:
    """Put that many tokens into the store; nothing is left open."""
    house = open_home(env)
    disk, name_key = house.store.disk, house.ring.name_key
    for slot in slots(house, issuer, count):
        name = f"{grant_name(name_key, slot.key.grant)}/{token_name(name_key, slot.key)}"
        disk.write_unsynced(TOKEN, name, codec.render(slot))
    found = sum(1 for _ in disk.names(TOKEN))
    if found != count + 1:
        raise SystemExit(f"{found} tokens in the store, not {count + 1}")
    disk.close()


def main() -> int:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=60)
    parser.add_argument("--bin", type=Path, help="a clean installation's bin")
    options = parser.parse_args()
    with workplace() as name:
        folder = Path(name)
        bin_folder = options.bin or clean_install(folder)
        get = [str(bin_folder / "brokerctl"), "get", "warm"]
        with Issuer(bin_folder, "--access-ttl", "3600") as issuer:
            homes = []
            for count in (MANY, FEW):
                home = folder / str(count)
                home.mkdir(mode=0o700)
                env = set_up(home, issuer)
                time_once(get, env)
                fill(env, issuer.url, count - 1)
                homes.append(env)
            many, few = homes
            ratios = paired(get, get, many, options.runs, few)
            return 0 if show("warm get, 10,000 tokens over 10", ratios, "", 1.1) else 1


if __name__ == "__main__":
    sys.exit(main())
