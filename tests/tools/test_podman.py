"""podman and buildah: they ask as skopeo does, which the other files try."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import require_tool
from tests.tools.room import hosts
from tests.tools.test_git import log_in
from tests.tools.test_skopeo import Skopeo, registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.registry import Registry

__all__ = ["registry"]  # the fixtures


@pytest.fixture(autouse=True)
def _no_runroot_stays(brokerctl: Program) -> Iterator[None]:
    """Remove what podman wants at a path of at most 50 characters, which a test's home is not."""
    yield
    shutil.rmtree(f"/tmp/pm-{os.path.basename(brokerctl.home)[-8:]}", ignore_errors=True)


def run(program: Program, tool: str, *words: str, code: int = 0, stdin: str = "") -> str:
    """Run a tool with a storage of its own; return what it printed on both streams."""
    path = require_tool(tool)
    if os.geteuid() != 0:
        pytest.skip("only root can unpack images")
    storage = ["--storage-driver", "vfs", "--root", f"{program.home}/images"]
    runroot = os.path.join("/tmp", f"pm-{os.path.basename(program.home)[-8:]}")
    done = subprocess.run(
        [path, *storage, "--runroot", runroot, *words],
        env=program.environment({"XDG_RUNTIME_DIR": program.home}),
        cwd=program.home,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    program.keep((tool, *words), done.stdout, done.stderr)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow("each makes a storage for images")
@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_pull_push_and_a_revoked_grant(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry, tool: str
) -> None:
    """Installed by brokerctl, used, and its own clean failure with our hint."""
    skopeo = Skopeo(brokerctl, registry, is_set_up=False)
    log_in(brokerctl, issuer, hosts=hosts(registry.url))
    assert brokerctl("helper", "install", tool, "--yes").returncode == 0
    place = f"{registry.name}/team/shop:1"
    skopeo("copy", skopeo.image, f"docker://{place}")
    issuer.reset()
    run(brokerctl, tool, "pull", place)
    run(brokerctl, tool, "push", place, f"docker://{registry.name}/team/again:1")
    assert registry.users() == {"oauth2"}
    assert issuer.counts()["grants"] == {}
    assert brokerctl("revoke", "person").returncode == 0
    said = run(brokerctl, tool, "pull", f"{registry.name}/team/again:1", code=125)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "denied: requested access" in said


def test_a_login_of_podman_s_own_is_asked_before(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry
) -> None:
    """It lies in another file, and wins until `logout`; without one brokerctl is asked."""
    Skopeo(brokerctl, registry, is_set_up=False)
    log_in(brokerctl, issuer, hosts=hosts(registry.url))
    assert brokerctl("helper", "install", "podman", "--yes").returncode == 0
    assert "Already logged in" in run(brokerctl, "podman", "login", registry.name)
    token = brokerctl("get", "person").stdout.strip()
    asked = ("podman", "login", "--get-login", registry.name)
    for words, user in (
        (("logout", registry.name), "oauth2\n"),
        (("login", "-u", "alice", "--password-stdin", registry.name), "alice\n"),
        (("logout", registry.name), "oauth2\n"),
    ):
        run(brokerctl, "podman", *words, stdin=token)
        assert run(brokerctl, *asked) == user
