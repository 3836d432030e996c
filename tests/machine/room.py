"""A machine to be hostile to: a home with a live grant, the program, and what must hold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import keys
from brokerctl.model import GrantKey, Token, TokenKey
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from brokerctl.store.file import FileStore
from brokerctl.store.values import Change
from tests.program import TIMEOUT_S, Program, Result

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer

SCOPES = ("offline_access", "openid", "read")
RESOURCE = ("https://api.example",)
CONFIG = """\
[profile.person]
issuer = "{url}"
flow = "device"
client_id = "device"
scopes = ["openid", "offline_access", "read"]
resource = ["https://api.example"]

[profile.service]
issuer = "{url}"
flow = "client_credentials"
client_id = "basic"
client_auth = "client_secret_basic"
client_secret = {{ file = "{secret}" }}
scopes = ["read"]
resource = ["https://api.example"]
"""
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


class Machine:
    """A home with the profiles `person`, who is logged in, and `service`, who need not be."""

    def __init__(self, program: Program, issuer: DemoIssuer, template: str | None = None) -> None:
        self.program = program
        self.issuer = issuer
        self.home = program.home
        program.env["BROKERCTL_KEEPER"] = "file"
        self.secret = os.path.join(self.home, "basic.secret")
        write_private(self.secret, issuer.secrets["basic"] or "")
        self.config = self.configure()
        if template is not None:
            shutil.copytree(template, os.path.join(self.home, "state"))

    def configure(self, more: str = "") -> str:
        """Write the configuration, with more profiles, and return its path."""
        text = f"{CONFIG}{more}".format(url=self.issuer.url, secret=self.secret)
        return self.program.config(text)

    def path(self, *names: str) -> str:
        """Return the path of something in the state folder."""
        return os.path.normpath(os.path.join(self.home, "state", "v1", *names))

    def entry(self, kind: str, of: str = "") -> str:
        """Return the path of the only entry of a kind; `of` is what its name ends with."""
        found = [
            os.path.join(place, name)
            for place, _, names in os.walk(self.path(kind))
            for name in names
            if name.endswith(of) and (of or "." not in name)
        ]
        (path,) = found
        return path

    # The grant, put into the store by its own interface: quicker than a login, and at any time.

    def store(self) -> FileStore:
        """Open the store as the program does."""
        folder = open_folder(self.path())
        assert folder is not None
        ring = keys.open_ring(folder, {})
        assert ring is not None
        return FileStore(folder, ring)

    def log_in(self, *, lifetime_s: float = 3600, issued_ago_s: float = 0) -> str:
        """Give `person` a grant of its own from the issuer, and return its access token."""
        answer = self._device_flow()
        store = self.store()
        key = GrantKey(issuer=self.issuer.url, client_id="device", scopes=SCOPES, resource=RESOURCE)
        now = time.time()
        token = Token(
            value=Secret(answer["access_token"]),
            fingerprint=store.ring.fingerprint(answer["access_token"]),
            token_type="Bearer",
            scopes=SCOPES,
            issued_at=now - issued_ago_s,
            expires_at=now - issued_ago_s + lifetime_s,
        )
        with store.lock_grant(key, work_time() + 20) as locked:
            assert locked.state.grant is not None
            grant = locked.state.grant.replace(
                refresh_token=Secret(answer["refresh_token"]), obtained_at=now - issued_ago_s
            )
            slot = TokenKey(grant=key, scopes=SCOPES, resource=RESOURCE)
            locked.commit(Change(grant=grant, token_key=slot, token=token, profile="person"))
        store.disk.close()
        return str(answer["access_token"])

    def _device_flow(self) -> dict[str, Any]:
        made = self.issuer.post(
            "/device/auth", "device", scope=" ".join(SCOPES), resource=RESOURCE[0]
        ).json
        self.issuer.approve_device(made["user_code"], made["verification_uri"])
        answer = self.issuer.post(
            "/token", "device", grant_type=DEVICE, device_code=made["device_code"]
        )
        assert answer.status == 200, answer
        return answer.json

    # Running it.

    def __call__(self, *args: str, **how: Any) -> Result:  # noqa: ANN401 - Program's own
        """Run brokerctl."""
        return self.program(*args, **how)

    def under(self, wrapper: list[str], *args: str, **how: Any) -> Result:  # noqa: ANN401 - subprocess's own
        """Run brokerctl as the last words of another command's, or with other streams."""
        env = how.pop("env", {})
        given = {"capture_output": True, "stdin": subprocess.DEVNULL, "text": True} | how
        done = subprocess.run(
            [*wrapper, self.program.path, *args],
            env=self.program.environment(env),
            cwd=given.pop("cwd", self.home),
            timeout=TIMEOUT_S,
            check=False,
            start_new_session=True,
            **given,
        )
        result = Result(done.returncode, done.stdout or "", done.stderr or "")
        self.program.keep(args, result.stdout, result.stderr)
        return result

    # What must hold.

    def works(self, name: str = "person") -> str:
        """Show that a refresh, the record and the store are fine, and return the new token."""
        done = self("get", name, "--fresh")
        assert done.returncode == 0, done.stderr
        token = done.stdout.strip()
        assert self.issuer.is_active(token)
        again = self("get", name)
        assert (again.returncode, again.stdout.strip()) == (0, token), again.stderr
        return token

    def records(self) -> list[dict[str, Any]]:
        """Return the records, in order."""
        done = self("audit", "log", "--json")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def log_is_whole(self) -> None:
        """Show that the chain of records verifies."""
        done = self("audit", "verify")
        assert done.returncode == 0, done.stdout + done.stderr


def write_private(path: str, text: str) -> None:
    """Write a file that its owner alone can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def refused(done: Result, *codes: int) -> None:
    """Hold a run to a documented exit code, two lines on stderr and nothing on stdout."""
    assert done.returncode in codes, done
    assert done.stdout == "", done.stderr
    behaves(done)
    assert done.stderr.startswith("brokerctl: error: "), done.stderr


def behaves(done: Result) -> None:
    """Hold a run to lines of ours, one error with its hint at most, and no bug."""
    lines = done.stderr.splitlines()
    assert all(line.startswith("brokerctl: ") for line in lines), done.stderr
    errors = [line for line in lines if line.startswith(("brokerctl: error", "brokerctl: hint"))]
    assert len(errors) <= 2, done.stderr
    assert "unexpected" not in done.stderr, done.stderr


def answers(done: Result, token: str | None = None) -> str:
    """Hold a run to one token on stdout and nothing on stderr; return the token."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.split()) == 1
    assert token is None or done.stdout == f"{token}\n"
    return done.stdout.strip()


# Root, but for all that makes root more than an owner: modes count as they do for everybody.
WITHOUT_RIGHTS = (
    ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else ["env"]
)
# Somebody else, who may read everything so that an interpreter below /root can be started.
SOMEBODY_ELSE = [
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


def require_root() -> None:
    """Skip where the test can't mount or become somebody else; CI runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def require_mounts(machine: Machine, words: list[str]) -> None:
    """Skip where root may not mount, as in a container or below a changed root."""
    require_root()
    probe = machine.under(words)
    if probe.returncode:
        pytest.skip(f"nothing can be mounted here: {probe.stderr.strip()}")
