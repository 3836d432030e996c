"""A Go module on a guarded proxy, and a home with the real go."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from typing import TYPE_CHECKING

from tests.program import BIN
from tests.tools.clients import require_client
from tests.tools.guarded import Reply

if TYPE_CHECKING:
    from tests.program import Program, Result
    from tests.tools.guarded import Guarded

MODULE, VERSION = "corp.example.com/team/demo", "v1.0.0"
COMMAND = f"{os.path.join(BIN, 'brokerctl')} helper goauth"


def put_module(server: Guarded, name: str = MODULE) -> None:
    """Serve a module of one package (`go help goproxy`)."""
    base, mod = f"/{name}/@v", f"module {name}\n\ngo 1.21\n".encode()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{name}@{VERSION}/go.mod", mod)
        archive.writestr(f"{name}@{VERSION}/demo.go", b"package demo\n")
    server.put_json(f"{base}/{VERSION}.info", {"Version": VERSION, "Time": "2026-01-01T00:00:00Z"})
    server.pages[f"{base}/list"] = Reply(f"{VERSION}\n".encode(), "text/plain")
    server.pages[f"{base}/{VERSION}.mod"] = Reply(mod, "text/plain")
    server.pages[f"{base}/{VERSION}.zip"] = Reply(data.getvalue(), "application/zip")


class GoDesk:
    """A home with go; GOAUTH is what is given, or else what go's own file says."""

    def __init__(self, program: Program, proxy: Guarded, goauth: str | None = COMMAND) -> None:
        self.program = program
        self.go = require_client("go")
        self.variables = {
            "GOPROXY": proxy.url,
            "GOSUMDB": "off",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-modcacherw",
            "SSL_CERT_FILE": proxy.ca_file,
        }
        if goauth is not None:
            self.variables["GOAUTH"] = goauth
        program.env["BROKERCTL_KEEPER"] = "file"

    def download(self, name: str, code: int = 0, module: str = MODULE) -> str:
        """Download the module into a cache of its own; return what go printed on both streams."""
        cache = {"GOMODCACHE": os.path.join(self.program.home, f"cache-{name}")}
        words = ("mod", "download", "-x", f"{module}@{VERSION}")
        done = self.run(*words, env=cache)
        assert done.returncode == code, done.stderr
        found = os.path.join(cache["GOMODCACHE"], f"{module}@{VERSION}", "demo.go")
        assert os.path.exists(found) == (code == 0)
        return done.stdout + done.stderr

    def run(
        self, *words: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run go."""
        done = subprocess.run(
            [self.go, *words],
            env={**self.program.environment(), **self.variables, **(env or {})},
            cwd=self.program.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        self.program.keep(("go", *words), done.stdout, done.stderr)
        return done

    def records(self, event: str) -> list[str]:
        """Return the log's lines of one event."""
        return self.program("audit", "log", "--event", event, "--json").stdout.splitlines()

    def ask(self, *words: str) -> Result:
        """Ask the helper as go does."""
        return self.program("helper", "goauth", *words, stdin="HTTP/1.1 401 Unauthorized\n\n")
