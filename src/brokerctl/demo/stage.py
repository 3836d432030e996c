"""Runs the real program in a private home, against an issuer in a process of its own.

The caller's environment is not used, and nothing stays behind, however it ends.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

from brokerctl.demo.visitor import visit
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

_RUN_S = 60
_CONFIG = """\
[profile.demo]
issuer = "{issuer}"
client_id = "cli"
flow = "code"
scopes = ["openid", "offline_access", "read", "write"]
"""


class Done(NamedTuple):
    """The result of one command."""

    code: int
    stdout: str
    stderr: str


class Stage:
    """The issuer and the private home, from the beginning to the end of a `with` block."""

    def __enter__(self) -> Self:
        """Start the issuer and write the configuration."""
        self.program = os.path.join(os.path.dirname(sys.executable), "brokerctl")
        if not os.access(self.program, os.X_OK):
            raise UsageError(f"there is no {self.program}, which the demo runs")
        self._children: list[subprocess.Popen[str]] = []
        self._before = {
            number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGHUP)
        }
        self.folder = tempfile.mkdtemp(prefix="brokerctl-demo-")
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_failure: object) -> None:
        """End every child, then remove the folder."""
        for child in self._children:
            _end(child)
        shutil.rmtree(self.folder, ignore_errors=True)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _start(self) -> None:
        home = os.path.join(self.folder, "home")
        os.mkdir(home, 0o700)
        self.environ = {
            "PATH": f"{os.path.dirname(self.program)}:/usr/local/bin:/usr/bin:/bin",
            "HOME": home,
            "TMPDIR": self.folder,
            "LANG": "C.UTF-8",
            "BROKERCTL_HOME": os.path.join(self.folder, "state"),
            "BROKERCTL_CONFIG": os.path.join(self.folder, "config.toml"),
            "BROKERCTL_KEEPER": "file",
            "BROWSER": f"{shlex.quote(sys.executable)} -I -m brokerctl.demo.visitor %s",
        }
        words = [sys.executable, "-I", "-m", "brokerctl.demo.serve", "--until-eof"]
        issuer = self._spawn([*words, "--auto-approve"], stdin=subprocess.PIPE)
        assert issuer.stdout is not None  # noqa: S101 - a pipe, as asked
        line = issuer.stdout.readline()
        if not line:
            raise UsageError("the embedded issuer did not start")
        said = json.loads(line)
        self.issuer: str = said["issuer"]
        self._secret: str = said["clients"]["post"]
        with open(self.environ["BROKERCTL_CONFIG"], "x", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_CONFIG.format(issuer=self.issuer))

    def _spawn(self, words: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
            cwd=self.folder,
            text=True,
        )
        self._children.append(child)
        return child

    def run(self, *words: str) -> Done:
        """Run brokerctl to its end."""
        return self.run_many(1, *words)[0]

    def run_many(self, count: int, *words: str) -> list[Done]:
        """Run `count` processes of brokerctl at once."""
        children = [self._spawn([self.program, *words]) for _ in range(count)]
        done = []
        for child in children:
            stdout, stderr = child.communicate(timeout=_RUN_S)
            done.append(Done(child.returncode, stdout, stderr))
            self._children.remove(child)
        return done

    def counts(self) -> dict[str, int]:
        """Return the issuer's own count of token requests, by grant type."""
        grants: dict[str, int] = json.loads(visit(f"{self.issuer}/__counts"))["grants"]
        return grants

    def reset(self) -> None:
        """Set the issuer's counts to 0, and its settings to their defaults."""
        self._post("/__reset", "{}")

    def set_lifetime(self, seconds: int) -> None:
        """Set the lifetime of the issuer's next access tokens."""
        self._post("/__mode", json.dumps({"access_ttl": seconds}))

    def is_active(self, token: str) -> bool:
        """Ask the issuer, as a resource server would, whether a token is active (RFC 7662)."""
        form = {"client_id": "post", "client_secret": self._secret, "token": token}
        answer = self._post("/token/introspection", urllib.parse.urlencode(form))
        return bool(json.loads(answer)["active"])

    def _post(self, path: str, body: str) -> Any:  # noqa: ANN401 - bytes of JSON
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.issuer + path, body.encode(), timeout=10) as answer:
            return answer.read()

    def edit_log(self, old: bytes, new: bytes) -> None:
        """Change one word in the audit log behind brokerctl's back."""
        path = os.path.join(self.environ["BROKERCTL_HOME"], "v1", "audit", "log")
        with open(path, "r+b") as file:
            file.seek(file.read().index(old))
            file.write(new)


def _end(child: subprocess.Popen[str]) -> None:
    """Close the input of a child, by which the issuer ends; kill it if it does not end."""
    if child.stdin:
        child.stdin.close()
    else:
        child.kill()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe:
            pipe.close()


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
