"""Whatever an INI or TOML file holds: our key goes in, all else stays, and it comes out again."""

from __future__ import annotations

import configparser
import tomllib

from hypothesis import assume, given
from hypothesis import strategies as st

from brokerctl.errors import UsageError
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.edit.ini import Keys
from brokerctl.helpers.uv import UvSetup

INI_LINES = st.sampled_from(
    [
        "[global]",
        "  [global]",
        "[global] ; x",
        "[install]",
        "a = 1",
        "  a = 1",
        "\tb: 2",
        "c =",
        "   more",
        "keyring-provider = subprocess",
        "keyring_provider = other",
        "# global",
        "; x",
        "",
        "  ",
        "\r",
        "%x = %(y)s",
        "# brokerctl",
    ]
)
TOML_LINES = st.sampled_from(
    [
        "a = 1",
        "[pip]",
        "[[index]]",
        'b = """',
        '"""',
        "keyring-provider = 'subprocess'",
        "# x",
        "",
        "c = [",
        "]",
        "\r",
        "d.e = {f = 1}",
    ]
)
FINAL = st.sampled_from(["", "\n", "\n\n"])
KEYS = {"keyring-provider": "subprocess"}
OURS = Keys("pip", "global", KEYS)
PLACE = SetupFile("x")


def ini(text: str) -> dict[str, dict[str, str]] | None:
    """Return what pip would read."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return {name: dict(parser[name]) for name in parser.sections()}


@given(lines=st.lists(INI_LINES, max_size=9), final=FINAL)
def test_ini(lines: list[str], final: str) -> None:
    """Refused whole, or changed in that key alone, again the same, and back byte for byte."""
    text = "\n".join(lines) + final
    before = ini(text)
    try:
        after = OURS.put(PLACE, text)
    except UsageError:
        has = (before or {}).get("global", {})
        assert before is None or "keyring_provider" in has or text.count("[global]") > 0
        return
    assume(before is not None)
    said = ini(after)
    assert said is not None
    assert before is not None
    found = said["global"].get("keyring-provider") or said["global"].get("keyring_provider")
    assert found == "subprocess"
    said["global"].pop("keyring-provider", None)
    had = {key: value for key, value in before.get("global", {}).items() if key not in KEYS}
    assert said == {**before, "global": had}
    assert OURS.put(PLACE, after) == after
    assert OURS.take(PLACE, after) == text


@given(lines=st.lists(TOML_LINES, max_size=9), final=FINAL)
def test_toml(lines: list[str], final: str) -> None:
    """As for INI; the first line is always in no table."""
    text = "\n".join(lines) + final
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        before = None
    try:
        after = UvSetup().put_keys(PLACE, text)
    except UsageError:
        assert before is None
        return
    assert before is not None
    assert tomllib.loads(after) == {**before, "keyring-provider": "subprocess"}
    assert UvSetup().put_keys(PLACE, after) == after
    assert UvSetup().take_keys(PLACE, after) == text
