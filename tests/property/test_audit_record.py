"""Whatever a record is asked to hold, it is one line of JSON of at most 4,096 bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from brokerctl.audit.record import (
    MAX_BYTES,
    START_OF_CHAIN,
    Head,
    close_line,
    find_head,
    render_body,
)
from brokerctl.jsonlite import loads
from tests.audit_log import RING, START

WORDS = st.text(max_size=40)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # lone surrogates too
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | ANY_TEXT
LONG = st.builds(lambda n, char: n * char, st.integers(0, 6000), st.sampled_from('aé😀"\0'))
PLACE = {"host": "h" * 64, "boot": "b" * 36, "pid_ns": 4026531836}
NAMES = ANY_TEXT.map("x".__add__)
WIDE = st.builds(lambda n, leaf: n * [leaf], st.integers(0, 90), LEAVES)
VALUES = st.recursive(
    LEAVES | LONG | WIDE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
MANY = st.builds(lambda n, leaf: {f"x{i}": leaf for i in range(n)}, st.integers(0, 300), LEAVES)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.dictionaries(NAMES, VALUES, max_size=8) | MANY)
@example({"exe": "/usr/\udc80", "x\ud800": ["\udfff", {"\ud83d": "\ude00"}]})
def test_any_fields_make_one_short_line_of_strict_json(fields: dict[str, Any]) -> None:
    """A cut never falls into a character, an escape or a bracket."""
    line, head = close_line(
        RING,
        Head(seq=10**18 - 2, mac=START_OF_CHAIN.mac),
        render_body("e" * 40, fields, START, PLACE),
    )
    assert len(line) <= MAX_BYTES
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert loads(line)["seq"] == head.seq
    assert find_head(RING, line[:-1]) == head


@given(st.dictionaries(WORDS.map("x".__add__), st.lists(WORDS, max_size=3), max_size=3))
def test_what_fits_is_kept_as_it_is(fields: dict[str, Any]) -> None:
    """Round trip: nothing is lost or changed, and nothing is marked as cut."""
    read = loads(b"{%s}" % render_body("e", fields, START))
    assert {name: read[name] for name in fields} == fields
    assert "cut" not in read


@given(st.integers(3900, 20000), st.sampled_from("aé😀"))
def test_what_is_cut_is_marked_and_says_how_much(length: int, char: str) -> None:
    """A reader sees that there was more, and the short fields stay whole."""
    read = loads(b"{%s}" % render_body("e", {"profile": "p", "purpose": char * length}, START))
    assert read["cut"] is True
    assert read["profile"] == "p"
    kept, _, missing = read["purpose"].partition("…(+")
    assert len(kept) + int(missing[:-1]) == length
