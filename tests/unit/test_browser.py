"""Which browser is started, and how: $BROWSER without a shell, and nothing where nobody looks."""

from __future__ import annotations

import os
import sys
import time

import pytest

from brokerctl.effects.browser import commands, open_browser, unusable

URL = "https://issuer.example/auth?a=1&b=$(touch /tmp/x);%20'\""
DESKTOP = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("browser", "expected"),
    [
        ("firefox", [["firefox", URL]]),
        ("firefox %s", [["firefox", URL]]),
        ("firefox --new-window=%s &", [["firefox", f"--new-window={URL}"]]),
        ("a:b %s:c", [["a", URL], ["b", URL], ["c", URL]]),
        ("'/opt/my browser/run' -x", [["/opt/my browser/run", "-x", URL]]),
        ("'unclosed:firefox", [["firefox", URL]]),
        ("sh -c 'rm %s'", [["sh", "-c", f"rm {URL}"]]),
        (":", []),
    ],
)
def test_browser_variable(browser: str, expected: list[list[str]]) -> None:
    """$BROWSER holds commands by colons; the URL is within one argument, whatever it holds."""
    for more in ({}, {"CI": "true"}, DESKTOP):
        environ = {"BROWSER": browser, **more}
        assert list(commands(URL, environ, has_terminal=False)) == expected


@pytest.mark.parametrize(
    ("environ", "has_terminal", "is_some"),
    [
        (DESKTOP, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({}, True, False),
        (DESKTOP, False, False),
        ({**DESKTOP, "CI": "1"}, True, False),
        ({"BROWSER": ""}, True, False),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="there the desktop is always there")
def test_desktop(environ: dict[str, str], *, has_terminal: bool, is_some: bool) -> None:
    """Without $BROWSER a browser opens on a desktop with a terminal, never in CI."""
    found = list(commands(URL, environ, has_terminal=has_terminal))
    assert bool(found) == is_some
    assert all(words[1:] == [URL] for words in found)


def test_started(tmp_path: os.PathLike[str]) -> None:
    """The child has the URL as one argument, a session of its own, and none of our secrets."""
    out = os.path.join(tmp_path, "out")
    script = os.path.join(tmp_path, "my browser")
    with open(script, "w", encoding="utf-8") as file:
        file.write(
            f"#!{sys.executable}\nimport os, sys\n"
            f"with open({out!r} + '.new', 'w') as f:\n"
            "    print(sys.argv[1:], os.getsid(0) == os.getpid(), sorted(os.environ),\n"
            "          sorted(os.listdir('/proc/self/fd')), file=f)\n"
            f"os.rename({out!r} + '.new', {out!r})\n"
        )
    os.chmod(script, 0o700)
    environ = {
        "BROWSER": f"/nonexistent:'{script}'",
        "PATH": os.environ["PATH"],
        "BROKERCTL_KEY": "k",
        "BROKERCTL_KEY_FILE": "f",
        "BROKERCTL_PASSPHRASE": "p",
        "BROKERCTL_HOME": "/h",
    }
    read, write = os.pipe()
    os.set_inheritable(write, True)  # noqa: FBT003 - the signature of os
    assert open_browser(URL, environ, has_terminal=False)
    for _ in range(500):
        if os.path.exists(out):
            break
        time.sleep(0.02)
    with open(out, encoding="utf-8") as file:
        text = file.read()
    assert text.startswith(f"{[URL]!r} True")
    assert "BROKERCTL_HOME" in text
    assert "BROKERCTL_KEY" not in text
    assert "BROKERCTL_PASSPHRASE" not in text
    assert f"'{write}'" not in text.partition("]")[2]
    os.close(read)
    os.close(write)


def test_none() -> None:
    """Where no command exists, the caller is told so."""
    assert not open_browser(URL, {"BROWSER": "/nonexistent"}, has_terminal=True)
    assert not open_browser(URL, {}, has_terminal=False)


@pytest.mark.parametrize(
    ("rest", "expected"), [("", [URL]), (" %s", [URL]), (" -x '%s' &", ["-x", URL])]
)
def test_blanks(tmp_path: os.PathLike[str], rest: str, expected: list[str]) -> None:
    """A path with blanks is found without quotes, too: a desktop's settings write it so."""
    folder = os.path.join(tmp_path, "my  own browser")
    os.mkdir(folder)
    script = os.path.join(folder, "run me")
    with open(os.open(script, os.O_WRONLY | os.O_CREAT, 0o700), "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n")
    for text in (f"{script}{rest}", f"'{script}'{rest}"):
        assert list(commands(URL, {"BROWSER": text}, has_terminal=False)) == [[script, *expected]]


@pytest.mark.parametrize(
    ("browser", "named"),
    [
        ("/opt/my browser/run", "'/opt/my'; a path with blanks needs quotes of its own"),
        ("/nonexistent", "'/nonexistent'"),
        ("'open", "no command: ''open'"),
        (":", "no command: ':'"),
    ],
)
def test_unusable(browser: str, named: str) -> None:
    """What can't be started is said by the variable that names it."""
    assert unusable({"BROWSER": browser}) == f"no browser could be started: BROWSER names {named}"
    assert unusable({}) is None
