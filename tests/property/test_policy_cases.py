"""Whatever stands in a file of cases, or of claims: it is read, or one error says what is wrong."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from brokerctl.broker.supposed import decide_cases
from brokerctl.config.edit import render_value
from brokerctl.errors import UsageError
from brokerctl.policy.cases import read_cases, read_claims
from tests.property.test_policy_words import VALUES

PROFILE = '[profile.x]\nissuer = "https://i.example"\nflow = "code"\nclient_id = "c"\n'
REQUEST = ("profile", "scopes", "resource", "audience", "subject", "purpose", "url", "prfile")
FACTS = ("tool", "agent", "session", "uid", "exe", "exe_sha256", "parent", "tty", "login_age")
EXPECT = ("effect", "rule", "layer", "reason", "scopes", "max_ttl")
LIKELY: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["x", "deny", "15m", "2026-01-05T09:00:00Z", True, 0, ["read"]]), VALUES
)


def tables(*names: str) -> st.SearchStrategy[Any]:
    """Return a strategy of tables with some of these keys, or of what is no table."""
    return st.one_of(st.dictionaries(st.sampled_from(names), LIKELY, max_size=4), VALUES)


CASES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "name": LIKELY,
            "request": tables(*REQUEST).map(
                lambda one: {"profile": "x", **one} if isinstance(one, dict) else one
            ),
            "facts": tables(*FACTS, "time", "fork", "branch", "ci"),
            "expect": tables(*EXPECT),
            "other": VALUES,
        },
    ),
    max_size=2,
)


def written(folder: str, text: str) -> str:
    """Write a file and return its path."""
    path = os.path.join(folder, "file")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


@given(CASES)
@example([{"request": {"profile": "x"}, "expect": {"effect": ["read"]}}])
def test_odd_cases_are_refused_with_their_place(cases: list[dict[str, Any]]) -> None:
    """Each is decided, or refused with file, line and column."""
    try:
        text = f"case = {render_value(cases)}\n{PROFILE}"
    except UsageError:
        return  # a text that TOML has no form for
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, text)
        environ = {"HOME": folder, "BROKERCTL_CONFIG": os.path.join(folder, "none")}
        try:
            found = decide_cases(read_cases(path), environ)
        except UsageError as error:
            place = error.message.removeprefix(f"{path}:").split(":")
            assert place[0].isdigit() is place[1].isdigit() is True
            return
    assert len(found) == len(cases)


@given(st.one_of(VALUES, st.dictionaries(st.sampled_from(["ci", "branch", "fork"]), LIKELY)))
def test_odd_claims_are_read_or_refused(claims: Any) -> None:  # noqa: ANN401 - what JSON holds
    """A claim is a text or a flag, whatever the file had in its place."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, json.dumps(claims))
        try:
            found = read_claims(path)
        except UsageError as error:
            assert error.message.startswith(path)  # noqa: PT017 - either is right
            return
    assert all(isinstance(one, str | bool) for one in found.values())
