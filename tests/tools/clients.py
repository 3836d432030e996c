"""Where the real clients are that pip installs: build/test-tools, by scripts/setup.sh."""

from __future__ import annotations

import os

import pytest

from tests.program import ROOT

CLIENTS = os.path.join(ROOT, "build", "test-tools", "bin")


def require_client(name: str) -> str:
    """Return the path of a client; without it, fail in CI and skip elsewhere."""
    path = os.path.join(CLIENTS, name)
    if os.access(path, os.X_OK):
        return path
    message = f"{path} is not there; `make setup` installs it"
    if os.environ.get("CI"):
        pytest.fail(message)
    return pytest.skip(message)


def require_newer_git() -> str:
    """Return the git that scripts/build_git.sh makes; without it, fail in CI and skip elsewhere."""
    path = os.path.join(ROOT, "build", "git-newer", "bin-wrappers", "git")
    if os.path.exists(os.path.join(ROOT, "build", "git-newer", "built")):
        return path
    message = "there is no build/git-newer; `make setup` makes it where it can"
    if os.environ.get("CI"):
        pytest.fail(message)
    return pytest.skip(message)
