"""A tool's own file is changed only if nobody else has changed it, up to the last moment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import UsageError
from brokerctl.helpers.import_plain import change_file
from brokerctl.platform.system import System

if TYPE_CHECKING:
    from pathlib import Path

BEFORE, AFTER, THEIRS = b"before\n", b"after\n", b"docker's own\n"


def meanwhile(path: str) -> System:
    """Return a disk on which a tool without a lock puts its file there while ours is synced."""

    class Meanwhile(System):
        @staticmethod
        def fsync(fd: object) -> None:
            """Write as docker does: beside it, then renamed."""
            del fd
            with open(f"{path}.1234", "wb") as file:
                file.write(THEIRS)
            os.rename(f"{path}.1234", path)

    return Meanwhile()


@pytest.mark.parametrize("suffix", [None, ".lock"])
def test_what_its_tool_wrote_meanwhile_is_not_lost(tmp_path: Path, suffix: str | None) -> None:
    """Docker, podman and skopeo take no lock: their login of this very moment stays."""
    path = str(tmp_path / "config.json")
    with open(path, "wb") as file:
        file.write(BEFORE)
    with pytest.raises(UsageError, match="has changed meanwhile"):
        change_file(path, suffix, BEFORE, AFTER, meanwhile(path))
    with open(path, "rb") as file:
        assert file.read() == THEIRS
    assert os.listdir(tmp_path) == ["config.json"]
    change_file(path, suffix, THEIRS, AFTER)
    with open(path, "rb") as file:
        assert file.read() == AFTER


def test_a_file_that_was_made_meanwhile(tmp_path: Path) -> None:
    """Where there was none, one that is there now is its tool's."""
    path = str(tmp_path / "config.json")
    with pytest.raises(UsageError, match="has changed meanwhile"):
        change_file(path, None, None, AFTER, meanwhile(path))
    with open(path, "rb") as file:
        assert file.read() == THEIRS
