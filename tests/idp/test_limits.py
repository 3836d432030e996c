"""docs/limits.md says what examples/limits.sh shows on this machine."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.house.source import ROOT, read
from tests.idp.main_job import service
from tests.program import require_tool

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

SCRIPT = os.path.join(ROOT, "examples", "limits.sh")


class Upstream(http.server.BaseHTTPRequestHandler):
    """A server behind the gateway."""

    def do_GET(self) -> None:
        """Answer with nothing secret."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.slow("four sessions, each with the attempts of three others")
def test_the_script_shows_what_the_page_says(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Each line that it printed here is on the page; nothing of it is a token."""
    for tool in ("curl", "unshare", "strace"):
        require_tool(tool)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        service(brokerctl, http_issuer, hosts=f'["http://127.0.0.1:{server.server_port}"]')
        brokerctl.env["BROKERCTL_KEEPER"] = "file"
        done = subprocess.run(
            ["sh", SCRIPT, "service"],
            env=brokerctl.environment(),
            cwd=brokerctl.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done
    page = read("docs/limits.md")
    told = page.partition("```text\n")[2].partition("```")[0].splitlines()
    lines = done.stdout.splitlines()
    assert len(lines) > 8
    assert [line for line in lines if line not in told] == [], done.stdout
    if os.getuid() == 0 and shutil.which("setpriv"):
        assert lines == told
    assert brokerctl("session", "list").stdout == "no session has anything to end\n"
