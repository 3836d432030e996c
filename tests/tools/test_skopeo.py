"""The real skopeo, a registry with a token realm behind TLS, and brokerctl as its helper."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import require_tool
from tests.tools.registry import Registry, make_image
from tests.tools.test_git import hosts, issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

__all__ = ["issuer"]  # the fixture


@pytest.fixture
def registry(trace_dir: str, issuer: DemoIssuer) -> Iterator[Registry]:
    """Return a registry that takes the issuer's tokens."""
    folder = tempfile.mkdtemp(prefix="registry-", dir=trace_dir)
    with Registry(folder, issuer) as running:
        yield running


class Skopeo:
    """A home with skopeo, whose helper for one registry is brokerctl."""

    def __init__(self, program: Program, registry: Registry, *, is_set_up: bool = True) -> None:
        self.program = program
        self.skopeo = require_tool("skopeo")
        program.env.update({"BROKERCTL_KEEPER": "file", "SSL_CERT_FILE": registry.ca_file})
        self.image = make_image(program.home)
        if is_set_up:
            self.set_up(registry.name)

    def set_up(self, *names: str) -> None:
        """Write its configuration by hand."""
        path = os.path.join(self.program.home, ".config", "containers", "auth.json")
        os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"credHelpers": dict.fromkeys(names, "brokerctl")}, file)

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run skopeo; return what it printed on both streams."""
        done = subprocess.run(
            [self.skopeo, "--insecure-policy", *words],
            env=self.program.environment({"XDG_RUNTIME_DIR": self.program.home}),
            cwd=self.program.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.program.keep(("skopeo", *words), done.stdout, done.stderr)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr


def test_push_inspect_and_pull(brokerctl: Program, issuer: DemoIssuer, registry: Registry) -> None:
    """First use and warm use, one request to the issuer, each hand-out in the record."""
    skopeo = Skopeo(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url), username='"robot"')
    place = f"docker://{registry.name}/team/shop:1"
    skopeo("copy", skopeo.image, place)
    assert '"Architecture": "amd64"' in skopeo("inspect", place)
    skopeo("copy", place, "dir:pulled")
    assert os.path.exists(os.path.join(brokerctl.home, "pulled", "manifest.json"))
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert registry.users() == {"robot"}
    told = brokerctl("audit", "log", "--event", "token.handed_out", "--json").stdout.splitlines()
    assert len(told) >= 3
    assert all('"tool":"docker"' in line for line in told)
