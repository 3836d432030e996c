"""One record as a line: time, shape and what may not be in it."""

from __future__ import annotations

import pytest

from brokerctl.audit.record import (
    START_OF_CHAIN,
    close_line,
    find_head,
    find_numbers,
    render_body,
    render_time,
)
from brokerctl.jsonlite import loads
from brokerctl.model import Requester
from brokerctl.secret import Secret
from tests.audit_log import RING, START

BODY = render_body("token.handed_out", {"profile": "p", "scopes": ("a", "b")}, START)


def test_the_time_is_rfc_3339_in_utc_with_microseconds() -> None:
    """Times are compared as text, so each has the same length and zone."""
    assert render_time(START) == "2026-11-23T23:29:51.250000Z"
    assert render_time(0) == "1970-01-01T00:00:00.000000Z"
    assert render_time(951_782_400.000001) == "2000-02-29T00:00:00.000001Z"


def test_a_record_begins_and_ends_as_the_contract_says() -> None:
    """Other programs follow the chain by position."""
    line, head = close_line(RING, START_OF_CHAIN, BODY)
    assert line.startswith(b'{"v":1,"seq":1,')
    assert line.endswith(b',"prev":"' + b"0" * 64 + b'","mac":"' + head.mac + b'"}\n')
    fields = loads(line)
    assert list(fields)[:5] == ["v", "seq", "kid", "time", "event"]
    assert fields["scopes"] == ["a", "b"]


def test_a_requester_is_recorded_with_its_fields() -> None:
    """Values of the model are records too, their tuples lists."""
    requester = Requester(uid=1, pid=2, parents=(("sh", None),))
    fields = loads(b"{%s}" % render_body("e", {"requester": requester}, START))
    assert fields["requester"]["parents"] == [["sh", None]]


@pytest.mark.parametrize("name", ["v", "seq", "kid", "time", "event", "prev", "mac", "cut", "host"])
def test_no_caller_can_write_the_records_own_fields(name: str) -> None:
    """A second `mac` or `seq` would make two readers see two records."""
    with pytest.raises(ValueError, match="own field"):
        render_body("e", {name: 1}, START)


def test_a_secret_can_not_be_recorded() -> None:
    """A token in the log is a bug, and is stopped here."""
    with pytest.raises(TypeError):
        render_body("e", {"scopes": [Secret("s3cr3t")]}, START)


def test_the_head_is_found_by_position_and_only_with_the_right_mac() -> None:
    """The next record continues what this one was, or says that it was changed."""
    line, head = close_line(RING, START_OF_CHAIN, BODY)
    assert find_head(RING, line[:-1]) == head
    assert find_head(RING, line[:-1].replace(b'"p"', b'"q"')) is None
    assert find_head(RING, line) is None


@pytest.mark.parametrize("line", [b'{"v":1,"seq":01,"kid":1,"t', b'{"v":1,"seq":1,"kid":x,"t', b""])
def test_numbers_by_position_have_one_form(line: bytes) -> None:
    """Two spellings of one number would be two lines for one record."""
    assert find_numbers(line) is None
