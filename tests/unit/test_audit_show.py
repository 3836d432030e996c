"""What `audit` shows: lines of 80 columns, nothing that draws, never a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerctl.audit import show
from brokerctl.audit.read import FoundRecord, find_records
from brokerctl.cli import audit
from brokerctl.jsonlite import dumps
from brokerctl.model import GrantKey, Token, TokenKey, Value
from brokerctl.secret import Secret
from brokerctl.store.inventory import Held, list_held
from brokerctl.store.values import Grant, Slot
from tests.audit_log import RING, START, SmallLog

if TYPE_CHECKING:
    from pathlib import Path

NOW = START + 100
KEY = GrantKey(issuer="https://login.example.com", client_id="c", subject="ann")


class Entry(Value):
    """An entry of the store, as far as the list needs it."""

    name: str
    value: object = None
    damage: str | None = None


def token(name: str, until: float | None, status: str = "live") -> Token:
    """Return a token."""
    return Token(
        value=Secret(f"s3cr3t-{name}"),
        fingerprint=name * 16,
        token_type="Bearer",
        scopes=("api", "read"),
        issued_at=START,
        expires_at=until,
        status=status,
    )


@pytest.fixture
def held() -> list[Held]:
    """Return what a store with a grant, two tokens and two damaged entries holds."""
    grant = Grant(
        key=KEY,
        profile="gitlab",
        flow="device",
        generation=1,
        obtained_at=START,
        refresh_token=Secret("s3cr3t-refresh"),
        scopes=("api",),
    )
    slot = Slot(
        key=TokenKey(grant=KEY),
        profile="gitlab",
        current=token("ab", NOW + 60),
        superseded=(token("cd", NOW - 1, "superseded"), token("ef", None, "revoked")),
    )
    grants = [Entry(name="1", value=grant), Entry(name="2", damage="cut short")]
    slots = [Entry(name="3", damage="altered"), Entry(name="4", value=slot)]
    return list_held(grants, slots, RING.fingerprint, NOW)


def test_what_is_held_is_listed_with_its_state(held: list[Held]) -> None:
    """By profile; the current token and those before it; damaged entries last."""
    assert [(entry.kind, entry.status) for entry in held] == [
        ("grant", "live"),
        ("token", "live"),
        ("token", "expired"),
        ("token", "revoked"),
        ("grant", "damaged"),
        ("token", "damaged"),
    ]
    assert held[0].fingerprint == RING.fingerprint("s3cr3t-refresh")


def test_no_value_is_ever_shown(held: list[Held]) -> None:
    """As text, as JSON and as a table."""
    text = "\n".join(audit.held_lines(held))
    table = str([audit.held_cells(entry) for entry in held])
    for shown in (text, table, dumps(audit.held_json(held)), repr(held)):
        assert "s3cr3t" not in shown
    assert "ab" * 16 in text
    assert max(map(len, text.splitlines())) <= 80


def test_held_json_has_its_shape(held: list[Held]) -> None:
    """Documented and versioned."""
    answer = audit.held_json(held)
    assert answer["schema"] == 1
    assert answer["held"][1] == {
        "kind": "token",
        "profile": "gitlab",
        "issuer": "https://login.example.com",
        "subject": "ann",
        "scopes": ("api", "read"),
        "fingerprint": "ab" * 16,
        "issued_at": "2026-11-23T23:29:51Z",
        "expires_at": "2026-11-23T23:32:31Z",
        "status": "live",
        "session": None,
        "damage": None,
    }


def test_a_record_is_one_line(tmp_path: Path) -> None:
    """Time, event, profile, outcome, fingerprint, requester; no text of others draws."""
    small = SmallLog(tmp_path)
    requester = {"uid": 1, "pid": 42, "exe": "/usr/bin/git\x1b[2J", "tool": "git"}
    small.log.append(
        "token.handed_out",
        {
            "profile": "gitlab",
            "outcome": "cache",
            "fingerprint": "ab" * 16,
            "requester": requester,
        },
    )
    small.log.append("token.denied", {"profile": "p" * 300, "decision": {"effect": "deny"}})
    small.log.append("e", {"profile": 7, "decision": [], "requester": [], "outcome": {}})
    lines = [show.record_line(found) for found in find_records(small.log.folder)]
    start = "2026-11-23T23:29:52Z token.handed_out gitlab   cache   abababab "
    assert lines[0] == f"{start}git git\\x1b[2J 42"
    assert len(start) <= 65  # who asked still fits on 80 columns
    assert max(map(len, lines)) <= 160
    assert "denied by" in show.record_cells(find_records(small.log.folder)[1])[3]


def test_a_damaged_line_is_shown_as_such() -> None:
    """Its bytes are not."""
    found = FoundRecord(fields=None, segment="log", line=b"\x1b]0;x\x07")
    assert show.record_line(found) == "a damaged line of 6 bytes in log"
    assert show.record_json(found) == {"schema": 1, "damaged": {"segment": "log", "bytes": 6}}


def test_the_judgement_names_every_place(tmp_path: Path) -> None:
    """File and line as other tools write them, the verdict last."""
    small = SmallLog(tmp_path).fill(3)
    assert show.report_lines(small.verify())[-1].endswith("the last is 3: the chain is whole")
    small.write(small.read().replace(b'"number":1,', b'"number":7,') + b"half")
    assert show.report_lines(small.verify()) == [
        "log:2: edited: 1 line was edited or added after record 1",
        "log:4: torn: the last write was cut short, after record 3",
        "2 records in 1 file, the last is 3: THE CHAIN IS NOT WHOLE",
    ]
    answer = show.report_json(small.verify())
    assert (answer["schema"], answer["whole"], answer["records"]) == (1, False, 2)
    assert answer["problems"][0]["kind"] == "edited"
    dumps(answer)
