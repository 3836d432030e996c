"""What the tests of uv, pip, twine, poetry and keyring have in common: a desk with a profile."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.idp import main_job
from tests.tools.room import hosts, let_expire
from tests.tools.test_git import log_in

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program, Result
    from tests.tools.index_server import Index

PATHS = ("simple", "files", "legacy")  # below which the index is a profile's


class Desk:
    """A home with brokerctl set up for one tool, and a profile for one index."""

    def __init__(self, program: Program, tool: str) -> None:
        self.program = program
        self.tool = tool
        program.env["BROKERCTL_KEEPER"] = "file"

    def serve(self, issuer: DemoIssuer, index: Index, **keys: str) -> None:
        """Have a profile that needs no person, and the tool set up."""
        main_job.service(self.program, issuer, hosts=hosts_of(index), **keys)
        self.install()

    def log_in(self, issuer: DemoIssuer, index: Index) -> None:
        """Have alice logged in, and the tool set up."""
        log_in(self.program, issuer, hosts=hosts_of(index))
        self.install()

    def install(self) -> Result:
        """Write brokerctl into the tool's configuration, and its command into PATH."""
        done = self.program("helper", "install", self.tool, "--yes")
        assert done.returncode == 0, done.stderr
        path = f"{self.folder}:{self.program.environment()['PATH']}"
        self.program.env["PATH"] = path
        return done

    @property
    def folder(self) -> str:
        """Where the command is, or the module."""
        given = self.program.env.get("XDG_DATA_HOME")
        share = given or os.path.join(self.program.home, ".local", "share")
        return os.path.join(share, "brokerctl", "helpers", self.tool)

    def run(self, *words: str, code: int = 0, **env: str) -> str:
        """Run a tool, which has nobody to ask; return what it printed on both streams."""
        done = subprocess.run(
            words,
            env=self.program.environment(env),
            cwd=self.program.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.program.keep(words, done.stdout, done.stderr)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def records(self, event: str) -> list[str]:
        """Return the log's lines of one event."""
        done = self.program("audit", "log", "--event", event, "--json")
        return done.stdout.splitlines()

    def target(self, name: str) -> str:
        """Return a folder to install into."""
        return os.path.join(self.program.home, name)

    def let_expire(self, issuer: DemoIssuer) -> None:
        """Leave alice with a token that is over, and the issuer's counts at nought."""
        let_expire(self.program, issuer)


def hosts_of(index: Index) -> str:
    """Return a profile's hosts for an index."""
    return hosts(*(f"{index.url}/{path}" for path in PATHS))
