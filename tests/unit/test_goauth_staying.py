"""Go's own file, changed by others after `helper install`, and hosts that GOINSECURE may mean."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brokerctl.errors import UsageError
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.goauth import Goauth, is_unchecked
from brokerctl.helpers.goauth.setup import GoauthSetup
from brokerctl.helpers.setups import Part
from tests.contracts.helper_contract import ANSWER, PROFILE, credential

PLACE = SetupFile("/home/alice/.config/go/env")
COMMAND = "/opt/b/brokerctl helper goauth"
OURS = f"GOAUTH={COMMAND};"
CORP = PROFILE.replace(
    hosts=("https://go.corp.example", "https://go.corp.example:8443", "https://mod.corp.example/x")
)
LINES = st.lists(
    st.sampled_from(
        ["GOAUTH=git /x", "GOAUTH=", "GOAUTH= a ;b", "GOFLAGS=-v", "# mine", "", "\r", "GOAUTH=z;"]
    ),
    max_size=5,
)


def put(text: str) -> str:
    """Return a file's text with our part."""
    part = Part("goauth", (CORP,), "/opt/b/brokerctl", {"HOME": "/home/alice"})
    return GoauthSetup().put(PLACE, text, part)


def take(text: str) -> str | None:
    """Return a file's text without our part."""
    return GoauthSetup().take(PLACE, text)


@given(lines=LINES, end=st.sampled_from(["", "\n"]))
def test_put_and_taken_is_byte_for_byte_as_before(lines: list[str], end: str) -> None:
    """Whichever line counted, and however the file ended; and put twice is put once."""
    text = "\n".join(lines) + end
    after = put(text)
    assert put(after) == after
    assert take(after) == text


@given(lines=LINES, more=LINES)
def test_what_was_added_behind_stays(lines: list[str], more: list[str]) -> None:
    """`go env -w` and people add lines below our part."""
    before, behind = "".join(f"{one}\n" for one in lines), "".join(f"{one}\n" for one in more)
    assume(not any(one.startswith("GOAUTH=") for one in more))
    assert take(put(before) + behind) == before + behind


@pytest.mark.parametrize("before", ["", "GOAUTH=git /x\n", "A=1\nGOAUTH=git /x\nB=2\n", "A=1"])
@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("GOAUTH=git /y", "GOAUTH=git /y"),  # `go env -w GOAUTH=…` after install
        (f"{OURS}git /y", "GOAUTH=git /y"),
        (f"GOAUTH=git /y;{COMMAND}", "GOAUTH=git /y"),
        (f"GOAUTH=git /y;{COMMAND};netrc", "GOAUTH=git /y;netrc"),
        (f"GOAUTH={COMMAND}", None),
        (None, None),  # `go env -u GOAUTH`
    ],
)
def test_what_somebody_wrote_into_our_line_stays(
    before: str, line: str | None, left: str | None
) -> None:
    """It is newer than what was there when `install` came."""
    rows = put(before).split("\n")
    at = next(at for at, row in enumerate(rows) if row.startswith(OURS))
    rows[at : at + 1] = [] if line is None else [line]
    taken = (take("\n".join(rows)) or "").split("\n")
    assert [row for row in taken if row.startswith("GOAUTH=")] == ([left] if left else [])
    others = [row for row in taken if row and not row.startswith("GOAUTH=")]
    assert others == [row for row in before.split("\n") if row and not row.startswith("GOAUTH=")]


def test_installed_again_after_a_change_keeps_the_change() -> None:
    """What is remembered then is the newer line."""
    again = put(put("GOAUTH=git /x\n").replace(f"{OURS}git /x", "GOAUTH=git /y"))
    assert f"{OURS}git /y\n" in again
    assert take(again) == "GOAUTH=git /y\n"


@pytest.mark.parametrize(
    ("url", "globs", "is_one"),
    [
        ("https://go.corp.example/x", None, False),
        ("https://go.corp.example/x", "other.example", False),
        ("https://go.corp.example/x", "corp.example", False),
        ("https://go.corp.example/x", "other.example,go.corp.example/team", True),
        ("https://go.corp.example:443/x?go-get=1", "*.corp.example", True),
        ("https://GO.corp.example/x", "Go.Corp.example", True),
        ("https://go.corp.example/x", "g?.corp.example/y", True),
        ("https://go.corp.example/x", "[^a]*", True),
        ("https://go.corp.example/x", "g\\o.corp.example", True),
        ("https://go.corp.example:8443/x", "*", False),  # a module's path has no port
        ("https://go.corp.example@evil.example/", "*", False),  # nobody's
    ],
)
def test_what_goinsecure_may_mean(url: str, globs: str | None, *, is_one: bool) -> None:
    """Rather too much than too little; its host decides, and the usual port."""
    assert is_unchecked(url, globs) == is_one


def test_policy_is_told_of_what_goes_unchecked() -> None:
    """And so decides; what is asked for elsewhere is not touched by it."""
    environ = {"GOINSECURE": "mod.corp.example"}
    asked = Goauth().read(["https://mod.corp.example/x"], b"", environ)
    assert asked.reply is None
    assert asked.is_insecure
    other = Goauth().read(["https://go.corp.example/x"], b"", environ)
    assert other.reply is None
    assert not other.is_insecure
    said = credential(Goauth(), other, ANSWER, CORP).stdout.decode()
    assert "https://go.corp.example\n" in said
    assert "mod.corp.example" not in said  # go would keep the token for that too
    fine = CORP.replace(insecure_ok=True)
    assert "mod.corp.example" in credential(Goauth(), other, ANSWER, fine).stdout.decode()


def test_all_hosts_unchecked_is_an_error() -> None:
    """With a profile named, go asks before it says for what."""
    asked = Goauth().read(["--profile", "forge"], b"", {"GOINSECURE": "*"})
    assert asked.reply is None
    one = CORP.replace(hosts=("https://go.corp.example",))
    with pytest.raises(UsageError, match="would check"):
        credential(Goauth(), asked, ANSWER, one)
