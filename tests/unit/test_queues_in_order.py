"""A `revoke` of one profile tries what is queued in an order that nobody has to guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerctl.cli.unfinished import RETRY_S, queues_in_order
from brokerctl.model import GrantKey
from brokerctl.secret import Secret
from brokerctl.store.slots import queue_item
from tests.store_room import RING, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.store.file import FileStore

SUBJECTS = 30  # of each profile


class Clock:
    """A clock that goes on by a second each time that it is read, once it runs."""

    def __init__(self) -> None:
        self.now, self.step = 0.0, 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        self.now += self.step
        return self.now


def fill(folder: str) -> FileStore:
    """Queue a token of each subject of two profiles."""
    store = open_store(folder)
    for number in range(2 * SUBJECTS):
        profile = "p" if number % 2 else "q"
        key = GrantKey(issuer="https://issuer.example", client_id=profile, subject=f"s{number}")
        with store.lock_grant(key, soon()) as locked:
            item = queue_item(RING, Secret(f"t{number}"), "access_token", 1.0)
            locked.enqueue(item, profile=profile)
    return store


def test_those_of_the_profile_come_first_and_all_of_them(tmp_path: Path) -> None:
    """However many there are, and each time in the same order."""
    store = fill(str(tmp_path))
    orders = [list(queues_in_order(store, "p", Clock())) for _ in range(2)]
    assert orders[0] == orders[1]
    assert [one.profile for one in orders[0]] == ["p"] * SUBJECTS + ["q"] * SUBJECTS


def test_time_ends_it_and_no_count_does(tmp_path: Path) -> None:
    """An issuer that is silent delays the command by seconds, not by the number of grants."""
    store, clock = fill(str(tmp_path)), Clock()
    found = []
    for queue in queues_in_order(store, "p", clock):
        found.append(queue.profile)
        clock.step = 0.0 if len(found) < SUBJECTS else RETRY_S / 2
    assert found == ["p"] * SUBJECTS + ["q"] * (len(found) - SUBJECTS)
    assert len(found) - SUBJECTS <= 1
    slow = Clock()
    slow.step = RETRY_S / 4
    assert [one.profile for one in queues_in_order(store, "p", slow)] in (["p"], ["p"] * 2, [])


def test_without_a_profile_it_is_all(tmp_path: Path) -> None:
    """As `revoke --all` and `status` want it."""
    clock = Clock()
    clock.step = RETRY_S
    assert len(list(queues_in_order(fill(str(tmp_path)), None, clock))) == 2 * SUBJECTS
