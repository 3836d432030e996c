"""An edit of the user's file keeps every byte that is not its own, whatever form the file has."""

from __future__ import annotations

import itertools
import tomllib
from collections import Counter
from difflib import SequenceMatcher
from typing import Any

import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from brokerctl.config.edit import add_profile, change_profile, remove_profile
from brokerctl.config.positions import find_comments
from brokerctl.errors import UsageError

# One profile in every form that TOML has for it; "mine" marks what goes with it.
FORMS = [
    '[profile.a] # mine\nflow = "code" # mine\nowner = "mine"\n',
    '["profile" . \'a\']\n\tflow   =   "code"\n\n  owner = "mine"   # mine\n',
    '[profile.a]\nflow = "code" # mine\n[profile.a.extra] # mine\naudience = """mine\nmine"""\n',
    '[profile.a.extra]\naudience = ["mine", # mine\n  "mine"]\n',
    '[profile.a]\nflow = "code"\nextra.audience = "mine"\nextra."#" = "mine"\n',
    '[[profile.a.list]] # mine\nx = "mine"\n[[profile.a.list]]\nx = "mine"\n',
    "[profile.a]\n",
]
INSIDE = [  # below a header [profile], which all of them share
    'a = { flow = "code", owner = "mine" } # mine\n',
    'a.flow = "code" # mine\na.owner = "mine"\n',
    "a = {}\n",
]
FIRST = [  # before any header
    'profile.a.flow = "code"\nprofile.a.owner = "mine"\n',
    'profile = { a = { flow = "code", owner = "mine" }, b = { flow = "device" } }\n',
]
OTHERS = st.sampled_from(
    [
        "\n",
        "# a remark\n",
        "\n\n# about the next\n",
        '[keys] # where\nkeeper = "file"\n',
        '[profile.other]\nflow = "device" # as ever\n',
        '[profile."last.one"]\nscopes = [\n  "a", # first\n\n  # end\n]\n',
        "[audit]\nx = \"# no comment\"\ny = '''\n[profile.a]\n# none\n'''\n",
    ]
)

OF_OTHERS = ("# where", "# as ever", "# first", "# end")  # the comments inside of those


@st.composite
def files(draw: st.DrawFn) -> str:
    """Return a file with a profile 'a', valid TOML, in either kind of lines, or cut off short."""
    others = st.lists(OTHERS, max_size=3, unique=True).map("".join)
    kind = draw(st.sampled_from([FORMS, INSIDE, FIRST]))
    form = draw(st.sampled_from(kind))
    if kind is INSIDE:
        form = f"[profile]\n{form}"
    before, after = ("" if kind is FIRST else draw(others)), draw(others)
    text = before + form + after
    try:
        tomllib.loads(text)
    except ValueError:  # a section that is there twice
        text = form
    text = text.rstrip("\n") if draw(st.booleans()) else text
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """Return the lines that are gone and those that are new."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    gone, made = [], []
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            gone += old[a:b]
            made += new[c:d]
    return gone, made


def check_ends(before: str, after: str) -> None:
    """A file has one kind of line ends, and keeps it."""
    if "\r\n" in before:
        assert after.replace("\r\n", "").count("\n") == 0


def remarks(text: str) -> list[str]:
    """Return each comment that stands right above the header of another table, and that header."""
    pairs = itertools.pairwise(text.splitlines())
    is_other = ("[keys]", "[profile.other]", "[profile.b]", '[profile."last.one"]', "[audit]")
    return [
        f"{above} {line}"
        for above, line in pairs
        if above.startswith("#") and line.startswith(is_other)
    ]


@given(files(), st.sampled_from(["flow", "owner", "purpose", "client_secret"]))
@example('[profile]\r\na.flow = "code" # x\r\n\r\n# about keys\r\n[keys]\r\n', "owner")
@example("[profile.a.extra]\nx = 1\n\n# b\n[profile.b]\n", "owner")
def test_a_key_that_is_set_changes_its_line_alone(text: str, key: str) -> None:
    """Every comment stays, and above what it stood above; where that can't be, it is refused."""
    value: Any = {"env": "X"} if key == "client_secret" else 'new "one"\n#'
    try:
        after = change_profile(text, "a", {key: value})
    except UsageError:
        assert "[[profile.a.list]] # mine" in text, "no other form is refused"
        return
    wanted = tomllib.loads(text)
    wanted["profile"]["a"][key] = value
    assert tomllib.loads(after) == wanted
    assert find_comments(after) == find_comments(text)
    gone, made = changed_lines(text, after)
    assert len(gone) <= 1
    assert len(made) <= 3  # the key's line, a header where there was none, a line between
    check_ends(text, after)
    assert remarks(after) == remarks(text)


@given(files())
def test_a_removed_profile_takes_what_is_its_own(text: str) -> None:
    """The comment above the next table stays, though a parser counts it to the one before."""
    wanted = tomllib.loads(text)
    del wanted["profile"]["a"]
    after = remove_profile(text, "a")
    found = tomllib.loads(after)
    assert found | {"profile": found.get("profile", {})} == wanted
    kept = [line for line in find_comments(text) if line in OF_OTHERS]
    assert Counter(kept) <= Counter(find_comments(after))
    assert set(remarks(text)) <= set(remarks(after))
    check_ends(text, after)


@given(files(), st.dictionaries(st.sampled_from(["owner", "purpose"]), st.text(max_size=9)))
def test_an_added_profile_leaves_all_as_it_was(text: str, values: dict[str, str]) -> None:
    """It goes to the end, but where all profiles stand in one inline table."""
    after = add_profile(text, "new", values)
    wanted = tomllib.loads(text)
    wanted["profile"]["new"] = values
    assert tomllib.loads(after) == wanted
    assert find_comments(after) == find_comments(text)
    assert after.startswith(text) or text.startswith("profile")
    check_ends(text, after)


@pytest.mark.parametrize(
    ("text", "edit", "lost"),
    [
        ("[profile.a]\nx = 1\n\n# b\n[profile.b]\n", lambda table: table.pop("a"), "# b"),
        (
            "[profile.a]\nx = 1\n\n# b\n[profile.b]\n",
            lambda table: table["a"].add("y", 2),
            "# b\n[profile.b]",
        ),
        ("[profile.a]\r\nx = 1\r\n", lambda table: table["a"].add("y", 2), "y = 2\r\n"),
    ],
    ids=["a comment", "its place", "the line's end"],
)
def test_why_tomlkit_does_not_edit_the_usual_form(text: str, edit: Any, lost: str) -> None:  # noqa: ANN401 - a lambda
    """docs/dependencies.md says so: whoever changes it has it here to be tried again."""
    document = tomlkit.parse(text)
    edit(document["profile"])
    assert lost not in tomlkit.dumps(document)
    by_us = remove_profile(text, "a") if lost == "# b" else change_profile(text, "a", {"y": 2})
    assert lost in by_us
