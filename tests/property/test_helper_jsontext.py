"""Our members of another tool's JSON file: put in, taken out, whatever its layout is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.helpers.edit.json_text import put_members, take_members

SECTION, OURS = "credHelpers", "brokerctl"
SPACE = st.text(alphabet=" \t\n\r", max_size=3)
WORDS = st.text(alphabet='ab{}[],:"\\ \n\té\udc80', max_size=6)
HOSTS = st.sampled_from(["reg.example.com", "b.example:5000", "localhost:5000", 'odd"one'])
NAMES = st.sets(HOSTS, min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)
OTHERS = st.dictionaries(st.sampled_from(["a.example", "z.example"]), st.just("pass"), max_size=2)


@st.composite
def layouts(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> str:
    """Return a value as JSON with any white space that may be there."""

    def render(value: object) -> str:
        if isinstance(value, dict):
            pairs = [
                f"{draw(SPACE)}{word(name)}{draw(SPACE)}:{draw(SPACE)}{render(one)}{draw(SPACE)}"
                for name, one in value.items()
            ]
            return "{" + (",".join(pairs) or draw(SPACE)) + "}"
        if isinstance(value, list):
            return (
                "[" + ",".join(f"{draw(SPACE)}{render(one)}" for one in value) + draw(SPACE) + "]"
            )
        return word(value) if isinstance(value, str) else json.dumps(value)

    def word(text: str) -> str:
        is_ascii = draw(st.booleans())
        return json.dumps(text, ensure_ascii=is_ascii)

    return draw(SPACE) + render(draw(values)) + draw(SPACE)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Return a configuration with a section, without one, or with an empty one, at any place."""
    members = list(draw(st.dictionaries(WORDS, VALUES, max_size=3)).items())
    section = draw(st.none() | OTHERS)
    if section is not None:
        members.insert(draw(st.integers(0, len(members))), (SECTION, section))
    return dict(members)


TEXTS = SPACE | layouts(configs()) | configs().map(lambda one: json.dumps(one, indent="\t"))


def loaded(text: str) -> dict[str, Any]:
    """Return what a text holds; nothing at all is an empty object to the tools."""
    found: dict[str, Any] = json.loads(text) if text.strip() else {}
    return found


@given(text=TEXTS, names=NAMES)
def test_put_and_taken_is_byte_for_byte_as_before(text: str, names: set[str]) -> None:
    """And in between, what a parser reads is what was there, and ours."""
    changed = put_members(text, SECTION, names, OURS)
    before = loaded(text)
    expected = before | {SECTION: before.get(SECTION, {}) | dict.fromkeys(names, OURS)}
    assert json.loads(changed) == expected
    assert take_members(changed, SECTION, OURS) == text
    assert take_members(text, SECTION, OURS) is None


@given(text=TEXTS, first=NAMES, second=NAMES)
def test_put_twice_is_put_once(text: str, first: set[str], second: set[str]) -> None:
    """The second time brings it up to date, and the same again changes nothing."""
    once = put_members(text, SECTION, second, OURS)
    assert put_members(put_members(text, SECTION, first, OURS), SECTION, second, OURS) == once
    assert put_members(once, SECTION, second, OURS) == once


@given(text=TEXTS, names=NAMES)
def test_a_tool_that_writes_the_file_anew_is_no_matter(text: str, names: set[str]) -> None:
    """Docker does so at each login: spaces are gone, and ours is found all the same."""
    changed = put_members(text, SECTION, names, OURS)
    anew = json.dumps(json.loads(changed), indent="\t", sort_keys=True)
    left = loaded(take_members(anew, SECTION, OURS) or "")
    before = loaded(text)
    if not before.get(SECTION):
        before.pop(SECTION, None)
    assert left == before


@given(data=st.text(alphabet='{}[]",: \n\\brokectlx1', max_size=30) | st.just("[" * 100_000))
def test_what_is_no_json_is_refused(data: str) -> None:
    """Nothing is guessed at, and nothing else is raised."""
    try:
        is_object = not data.strip(" \n") or isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        is_object = False
    try:
        put_members(data, SECTION, {"reg.example.com"}, OURS)
    except ValueError:
        assert not is_object
    else:
        assert is_object


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"credHelpers": {"reg.example.com": "pass"}}', "another value for 'reg.example.com'"),
        ('{"credHelpers": null}', "not an object"),
        ('{"credHelpers": {}, "credhelpers": {}}', "twice"),
        ('{"credHelpers": {}} x', "more behind its end"),
        ('{"a": 1,}', "not JSON"),
        ("[]", "not JSON"),
        ('{"a": ' + "[" * 100_000, "too deep"),
        ('\ufeff{"a": 1}', "not JSON"),
        ('{"a": NaN}', "NaN is no value"),
        ('{"a": [-Infinity]}', "Infinity is no value"),
    ],
)
def test_what_can_t_be_changed_is_said(text: str, said: str) -> None:
    """Another helper is not replaced, since nobody could put it back."""
    with pytest.raises(ValueError, match=said):
        put_members(text, SECTION, {"reg.example.com"}, OURS)


def test_a_name_in_another_case_is_the_same_to_go() -> None:
    """And written with an escape it is the same to everybody."""
    text = '{"cred\\u0048elpers": {"a": "pass"}, "x": {}}'
    changed = put_members(text, SECTION, {"b"}, OURS)
    assert changed == '{"cred\\u0048elpers": {"a": "pass","b": "brokerctl"}, "x": {}}'
    assert put_members('{"CREDHELPERS": {}}', SECTION, {"b"}, OURS).count("HELPERS") == 1


def test_what_a_person_wrote_as_we_would_stays_as_it_is() -> None:
    """Nothing is moved about where nothing is to be done."""
    text = '{"credHelpers": {"h": "brokerctl", "x": "pass"}, "auths": {}}'
    assert put_members(text, SECTION, {"h"}, OURS) == text


def test_what_was_put_behind_a_file_of_ours_stays() -> None:
    """The file was made by us, and is another's by now."""
    text = put_members("", SECTION, {"h"}, OURS).replace("}}", '}, "auths": {}}')
    assert take_members(text, SECTION, OURS) == '{"auths": {}}\n'


def test_what_somebody_put_between_ours_stays() -> None:
    """Ours go, first, last and in the middle."""
    text = '{"credHelpers": {"a": "brokerctl", "b": "pass", "c": "brokerctl", "d": "x"}}'
    assert take_members(text, SECTION, OURS) == '{"credHelpers": {"b": "pass", "d": "x"}}'


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", '{"credHelpers": {\n\t"h": "brokerctl"\n}}\n'),
        ("{}", '{\n\t"credHelpers": {\n\t\t"h": "brokerctl"\n\t}\n}'),
        (
            '{\n  "auths": {}\n}\n',
            '{\n  "auths": {},\n  "credHelpers": {\n    "h": "brokerctl"\n  }\n}\n',
        ),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 2, "credHelpers": { "h": "brokerctl" }}'),
    ],
)
def test_what_is_added_looks_like_its_neighbours(text: str, changed: str) -> None:
    """So that a person can read the file afterwards."""
    assert put_members(text, SECTION, {"h"}, OURS) == changed
