"""Where files lie: our own cheap answer, ours by platformdirs, and platformdirs' own are one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from brokerctl.config import paths
from brokerctl.errors import UsageError

OURS = ("BROKERCTL_CONFIG", "BROKERCTL_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "HOME")
# What an environment may hold, and slashes and dots more often than chance would have it.
VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.text(st.sampled_from("/.~a $"), max_size=8).map(lambda text: f"/{text}"),
    st.text(st.sampled_from("/.~a $"), max_size=8),
)
ENVIRONMENTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"), VALUES)
)


def answers(environ: Any) -> list[str]:  # noqa: ANN401 - a mapping
    """Return both places, or how each is refused."""
    found = []
    for place in (paths.config_file, paths.state_home):
        try:
            found.append(place(environ))
        except UsageError as error:
            found.append(error.message)
    return found


@pytest.mark.parametrize("system", ["linux", "mac"])
@given(environ=ENVIRONMENTS)
@example(environ={})
@example(environ={"HOME": "/"})
@example(environ={"HOME": "/home/a//", "XDG_CONFIG_HOME": "/x/c//", "XDG_STATE_HOME": "/"})
@example(environ={"HOME": "/home/a", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": "./s"})
@example(environ={"HOME": "/home/a", "XDG_STATE_HOME": "/s"})
@example(environ={"HOME": "~", "XDG_CONFIG_HOME": "/~"})
def test_all_three_are_the_same(system: str, environ: dict[str, str]) -> None:
    """Else a `get` would look into another store than the `login` before it filled.

    A HOME that is no absolute path is refused; platformdirs would ask /etc/passwd for another.
    """
    others = {name: value for name, value in os.environ.items() if name not in OURS}
    with (
        mock.patch.dict(os.environ, others | environ, clear=True),
        mock.patch.object(paths, "_IS_MAC", system == "mac"),
    ):
        cheap, asked = answers(dict(os.environ)), answers(os.environ)
        assert cheap == asked
        named = (MacOS if system == "mac" else Unix)("brokerctl", appauthor=False)
        for answer, kind in zip(cheap, ("config", "state"), strict=True):
            given_by = (environ.get("HOME", ""), environ.get(f"XDG_{kind.upper()}_HOME", ""))
            if not any(value.startswith("/") for value in given_by):
                assert answer == "HOME is not set to an absolute path"
                continue
            theirs = getattr(named, f"user_{kind}_dir")
            assert re.sub("/+", "/", answer).removesuffix("/config.toml") == re.sub(
                "/+", "/", theirs
            )


@pytest.mark.parametrize(
    ("environ", "loaded"), [("os.environ", "True"), ("dict(os.environ)", "False")]
)
def test_commands_ask_platformdirs(environ: str, loaded: str) -> None:
    """A command hands over `os.environ`, a warm door a copy, which costs no import."""
    code = (
        "import os, sys; from brokerctl.config import paths;"
        f" paths.state_home({environ}); print('platformdirs' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loaded
