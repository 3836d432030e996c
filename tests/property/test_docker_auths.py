"""What is cut out of docker's file is gone, and all else stays, whatever the file's layout is."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brokerctl.helpers.docker.auths import cut_auths, find_unasked, hand_over, read_auths
from brokerctl.helpers.edit.json_text import find_members
from tests.property.test_helper_jsontext import VALUES, WORDS, layouts

GOOD = {"auth": base64.b64encode(b"alice:hunter2").decode()}
KEYS = st.sampled_from(["a.example", "b.example:5000", "[::1]", "docker.io", "c.example/d"]) | WORDS
ENTRIES = st.just(GOOD) | st.just({"identitytoken": "t", "auth": ""}) | VALUES


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Return a configuration with entries of any kind, at any place."""
    members = list(draw(st.dictionaries(WORDS, VALUES, max_size=3)).items())
    auths = draw(st.dictionaries(KEYS, ENTRIES, max_size=6))
    members.insert(draw(st.integers(0, len(members))), ("auths", auths))
    return dict(members)


@given(text=layouts(configs()), draw=st.data())
def test_all_else_stays_byte_for_byte(text: str, draw: st.DataObject) -> None:
    """Before the section, behind it, and each entry in it that is not meant."""
    data = text.encode("utf-8", "surrogateescape")
    found = read_auths(data)
    moving = [one for one in found if one.wanted and draw.draw(st.booleans())]
    rest = cut_auths(data, moving).decode("utf-8", "surrogateescape")
    before, after = find_members(text, "auths"), find_members(rest, "auths")
    starts = {one.start for one in moving}
    staying = [one for one in before if one.start not in starts]
    assert raw(rest, after) == raw(text, staying)
    gone = {one.key for one in before if one.start in starts}
    assert_is_handed_over(data, moving)
    expected = json.loads(text)
    expected["auths"] = {key: one for key, one in expected["auths"].items() if key not in gone}
    assert list(json.loads(rest).items()) == list(expected.items())
    if not moving:
        assert rest == text
        return
    ends = before[0].start, len(text) - before[-1].end
    opened, closed = text[: ends[0]].rindex("{") + 1, text.index("}", before[-1].end)
    assert rest.startswith(text[: ends[0]] if staying else text[:opened] + "}")
    assert rest.endswith(text[closed:])
    if before[-1] in staying:
        assert rest.endswith(text[before[-1].end :])


def assert_is_handed_over(data: bytes, moving: list[Any]) -> None:
    """See that what is moved is asked for, and that only helpers' names have come in besides."""
    handed = hand_over(data, moving)
    assert find_unasked(handed, moving) == []
    cut, after = (
        json.loads(one.decode("utf-8", "surrogateescape"))
        for one in (cut_auths(data, moving), handed)
    )
    if "credHelpers" not in cut:
        assert set(after.pop("credHelpers", {"": "brokerctl"}).values()) == {"brokerctl"}
        assert after == cut


def raw(text: str, members: list[Any]) -> list[str]:
    """Return members as they are spelled."""
    return [text[one.start : one.end] for one in members]


@given(
    data=st.binary(max_size=40)
    | st.text(alphabet='{}[]",: \n\\auths.b1=N', max_size=40).map(str.encode)
    | st.text(alphabet='{}[]",: ath1', max_size=20).map(lambda one: f'{{"auths":{one}}}'.encode())
)
def test_any_bytes(data: bytes) -> None:
    """Whatever is in a file, it is read or refused with one kind of error."""
    try:
        found = read_auths(data)
    except ValueError:
        return
    at = 0
    for one in found:
        assert at <= one.start < one.end <= len(data)
        at = one.end
    assert cut_auths(data, []) == data
    assert find_unasked(data, []) == []
