"""What was set aside is told once to people and once to the record, and never stops anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import AuditError
from brokerctl.store import Damage
from brokerctl.store.check import tell
from brokerctl.store.entry import GRANT, INTENT, TOKEN
from tests.store_room import GRANT_KEY, log_in, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path


def _damage(name: str, kind: int = TOKEN, aside: str | None = "aside") -> Damage:
    what = "token" if kind == TOKEN else "grant"
    return Damage(kind=kind, name=name, why=f"{what} {name} was cut short", aside=aside)


def _told(found: list[Damage]) -> tuple[list[str], list[dict[str, Any]]]:
    lines: list[str] = []
    records: list[dict[str, Any]] = []

    def record(event: str, fields: dict[str, Any]) -> None:
        assert event == "store.damaged"
        records.append(fields)

    tell(found, lines.append, record)
    return lines, records


def test_one_entry_is_told_in_one_line() -> None:
    """The line names the kind, the reason and the command to run."""
    lines, records = _told([_damage("n", aside="token-n-1")])
    assert " ".join(lines) == (
        "brokerctl: warning: a token entry was damaged and set aside: it was cut short;"
        " run 'brokerctl store check'"
    )
    assert records == [
        {
            "kind": "token",
            "count": 1,
            "names": ["token-n-1"],
            "reason": "it was cut short",
            "outcome": "set aside",
        }
    ]


def test_a_path_is_no_reason() -> None:
    """The line stays short enough for its end, which says what to run, to be read."""
    name = "0a" * 32
    path = f"/home/a b/v1/intents/{name}.outcome"
    lines, records = _told([Damage(kind=INTENT, name=name, why=f"{path} is a symbolic link")])
    assert " ".join(lines) == (
        "brokerctl: warning: an intent entry was damaged, and is gone now: it is a symbolic link;"
        " run 'brokerctl store check'"
    )
    assert records[0]["reason"] == "it is a symbolic link"


def test_identical_ones_are_counted() -> None:
    """Twenty slots that were cut short are one line; a grant beside them is another."""
    lines, records = _told([_damage(str(n)) for n in range(20)] + [_damage("g", GRANT)])
    assert len(lines) == 2
    assert "20 token entries were damaged" in lines[0]
    assert [(one["kind"], one["count"]) for one in records] == [("token", 20), ("grant", 1)]


def test_an_entry_that_went_meanwhile_is_not_said_to_be_aside() -> None:
    """Somebody removed it between the reading and the moving."""
    lines, records = _told([_damage("n", aside=None)])
    assert "is gone now" in lines[0]
    assert (records[0]["outcome"], records[0]["names"]) == ("gone", ["n"])


def test_a_log_that_takes_nothing_stops_nothing() -> None:
    """The line is said all the same; the hand-out meets the log for itself."""
    lines: list[str] = []

    def record(_event: str, _fields: dict[str, Any]) -> None:
        raise AuditError("full")

    tell([_damage("n")], lines.append, record)
    assert len(lines) == 1


@pytest.mark.parametrize("is_damaged", [True, False])
def test_the_store_tells_when_the_lock_is_given_up(tmp_path: Path, *, is_damaged: bool) -> None:
    """Not before, since the log's lock is not the grant's; and only where there is something."""
    store = open_store(str(tmp_path / "store"))
    log_in(store)
    if is_damaged:
        (name,) = store.disk.names(GRANT)
        store.disk.child("grants").write(name, b"BKR1")
    told: list[tuple[Damage, ...]] = []
    store.tell = told.append
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        assert (locked.state.grant is None) is is_damaged
        assert told == []
    assert [len(found) for found in told] == ([1] if is_damaged else [])
