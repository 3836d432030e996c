"""Changing the user's file: comments stay, mistakes change nothing, writers take turns."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from brokerctl.config.edit import add_profile, change_profile, change_user_file, remove_profile
from brokerctl.config.new_profile import complete, find_preset, parse_setting, parse_settings
from brokerctl.errors import LockTimeoutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALUES = {"issuer": "https://a.example.com", "flow": "code", "client_id": "c"}
TEXT = """# mine

[profile.a]   # the first
issuer = "https://a.example.com"
flow = "code"  # as ever
client_id = "c"

# the second
[profile.b]
preset = "github"
client_id = "Iv1"
"""


def test_an_edit_changes_its_line_alone() -> None:
    """The value is replaced, its comment stays; a new key goes to the end of its table."""
    after = change_profile(TEXT, "a", {"flow": "device", "owner": 'me "x" \\ \n'})
    expected = TEXT.replace('"code"', '"device"').replace(
        'client_id = "c"\n', 'client_id = "c"\nowner = "me \\"x\\" \\\\ \\n"\n'
    )
    assert after == expected


def test_a_removed_profile_leaves_its_neighbours_comments() -> None:
    """The comment above the next table belongs to that."""
    assert remove_profile(TEXT, "a") == "# mine\n\n" + TEXT[TEXT.index("# the second") :]
    assert remove_profile(TEXT, "b") == TEXT[: TEXT.index("[profile.b]")]


@pytest.mark.parametrize(
    "text",
    [
        'profile.a.issuer = "https://a.example.com"\nprofile.a.flow = "code"\n',
        'profile = { a = { flow = "code" } }\n',
        '[profile]\na = { flow = "code" }\n',
        '[profile]\na.flow = "code"\n',
    ],
)
def test_an_unusual_form_is_edited_right_or_refused(text: str) -> None:
    """What can't be edited as text is left to a person, never written wrong."""
    assert change_profile(text, "a", {"flow": "device"}) == text.replace("code", "device")
    changes: list[Callable[[], str]] = [
        lambda: change_profile(text, "a", {"owner": "me"}),
        lambda: remove_profile(text, "a"),
        lambda: add_profile(text, "b", VALUES),
    ]
    for change in changes:
        try:
            change()
        except UsageError as error:
            assert "by hand" in (error.hint or "")  # noqa: PT017 - both outcomes are right


def test_an_edit_of_what_is_not_there_is_an_error() -> None:
    """A profile that exists is not added again; one that doesn't is not changed."""
    with pytest.raises(UsageError, match="there is a profile 'a'"):
        add_profile(TEXT, "a", VALUES)
    changes: list[Callable[[], str]] = [
        lambda: change_profile(TEXT, "c", {"flow": "code"}),
        lambda: change_profile(TEXT, "a", {}, ("owner",)),
        lambda: remove_profile(TEXT, "c"),
    ]
    for change in changes:
        with pytest.raises(UsageError):
            change()


def test_a_mistake_changes_nothing(tmp_path: Path) -> None:
    """An edit that doesn't compile, a broken file and a full folder leave the file as it was."""
    path = tmp_path / "config.toml"
    environ = {"HOME": str(tmp_path), "BROKERCTL_CONFIG": str(path)}
    for text in (TEXT, "[profile.a\n"):
        path.write_text(text)
        path.chmod(0o640)
        with pytest.raises(UsageError):
            change_user_file(environ, lambda text: change_profile(text, "a", {"flow": "magic"}))
        assert path.read_text() == text
        assert os.listdir(tmp_path) == ["config.toml"]


def test_a_change_keeps_mode_and_link(tmp_path: Path) -> None:
    """A linked file is replaced where it lies, with the mode that it had; a new one is private."""
    real = tmp_path / "dotfiles"
    real.mkdir(0o700)
    (real / "config.toml").write_text(TEXT)
    (real / "config.toml").chmod(0o640)
    link = tmp_path / "config.toml"
    link.symlink_to(real / "config.toml")
    environ = {"HOME": str(tmp_path), "BROKERCTL_CONFIG": str(link)}
    change_user_file(environ, lambda text: change_profile(text, "a", {"owner": "me"}))
    assert link.is_symlink()
    assert 'owner = "me"' in link.read_text()
    assert stat.S_IMODE(link.stat().st_mode) == 0o640
    new = {"HOME": str(tmp_path)}
    path = change_user_file(new, lambda text: add_profile(text, "a", VALUES))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def test_writers_take_turns(tmp_path: Path) -> None:
    """Ten who add at once all find their profile afterwards."""
    environ = {"HOME": str(tmp_path)}

    def add(number: int) -> None:
        change_user_file(environ, lambda text: add_profile(text, f"p{number}", VALUES))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = (tmp_path / ".config" / "brokerctl" / "config.toml").read_text()
    assert all(f"[profile.p{number}]" in text for number in range(10))


def test_a_writer_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """The second writer gives up in time and says what is being changed."""
    environ = {"HOME": str(tmp_path)}

    def slowly(text: str) -> str:
        with pytest.raises(LockTimeoutError, match="somebody else is changing"):
            change_user_file(environ, lambda text: text, wait_s=0.05)
        return text

    change_user_file(environ, slowly)


def test_add_asks_only_what_is_missing() -> None:
    """A preset knows the rest; without a terminal the missing options are named."""
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return " answer "

    values = complete("github", {}, find_preset("github", None, {}), ask, lambda _: None)
    assert values == {"preset": "github", "client_id": "answer"}
    assert asked == ["client id"]
    asked.clear()
    values = complete("x", {**VALUES, "scopes": []}, "generic", ask, lambda _: None)
    assert values == {**VALUES, "scopes": []}
    assert not asked
    with pytest.raises(UsageError) as caught:
        complete("x", {}, "generic", None, lambda _: None)
    assert "--issuer … --client-id …" in (caught.value.hint or "")


def test_settings_are_toml_or_plain_words() -> None:
    """Quotation marks are optional, secrets are references, lists are words."""
    assert parse_settings(
        ["max_ttl=15m", "send_resource=false", "scopes=a b", 'hosts=["https://x.com"]', "owner=a=b"]
    ) == {
        "max_ttl": "15m",
        "send_resource": False,
        "scopes": ["a", "b"],
        "hosts": ["https://x.com"],
        "owner": "a=b",
    }
    assert parse_setting("client_secret", "env:X") == {"env": "X"}
    assert parse_setting("client_secret", '{ command = ["pass", "x"] }') == {
        "command": ["pass", "x"]
    }
    for bad in ("nothing", "=x", "client_secret=hunter2", "hosts=[", "extra={a"):
        with pytest.raises(UsageError) as caught:
            parse_settings([bad])
        assert "hunter2" not in caught.value.message
