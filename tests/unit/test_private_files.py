"""How a folder at rest is opened: what a link on the way leads to is looked at as well."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import StoreError
from brokerctl.platform.private_files import open_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_link_below_others_is_refused(tmp_path: Path) -> None:
    """`BROKERCTL_HOME` through a link into a folder that others can write to: exit code 6."""
    open_to_all = tmp_path / "open"
    real = open_to_all / "mine" / "home"
    real.mkdir(parents=True, mode=0o700)
    os.chmod(real.parent, 0o700)
    (tmp_path / "link").symlink_to(real.parent)
    through_link = str(tmp_path / "link" / "home")
    assert open_folder(through_link) is not None
    os.chmod(open_to_all, 0o777)  # noqa: S103 - which is what is to be refused
    with pytest.raises(StoreError, match="open can be written to by others"):
        open_folder(through_link)
