"""Two versions on one store: what the earlier one wrote is used, and it stops at what is new."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from tests.earlier_version import digests, extract_earlier, sharing_home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

CODE = {
    "device_code": "d",
    "user_code": "U",
    "verification_uri": "https://v.example",
    "interval": 1,
}
NOTE = "the store has a new format"
COPY = "v1-before-format-2"
# What reaches the store, and what of that has its protocol's own exit code.
REFUSED = (
    "get p",
    "get p --fresh",
    "get p --json",
    "exec -p p -- true",
    "login p --flow device",
    "revoke p",
    "revoke --all",
    "status",
    "status --json",
    "audit log",
    "audit verify",
    "store check",
    "store check --mend",
    "store gc",
    "store rekey",
    "store rekey --new-keys",
    "unlock",
)


class Rotating(ThreadingHTTPServer):
    """An issuer that honours its newest refresh token alone, and ends the grant for an older."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.issued = 0
        self.honoured: str | None = None
        self.reused = 0
        self.turn = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, asked: dict[str, list[str]]) -> dict[str, object]:
        """Issue the next token, or refuse an old one."""
        with self.turn:
            if asked.get("refresh_token", [self.honoured]) != [self.honoured]:
                self.reused += 1
                return {"error": "invalid_grant"}
            self.issued += 1
            self.honoured = f"refresh-{self.issued}-of-the-tests"
            return {
                "access_token": f"access-{self.issued}-of-the-tests",
                "refresh_token": self.honoured,
                "token_type": "bearer",
                "scope": "read",
                "expires_in": 3600,
            }


class Handler(BaseHTTPRequestHandler):
    """Answers the device and the token endpoint."""

    server: Rotating

    def do_POST(self) -> None:
        """Answer."""
        asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        is_device = self.path.startswith("/login/device")
        found = CODE if is_device else self.server.answer(asked)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def issuer() -> Iterator[Rotating]:
    """Start one."""
    with Rotating() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def earlier_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Extract the earlier version once."""
    return extract_earlier(tmp_path_factory.mktemp("earlier"))


@pytest.fixture
def earlier(brokerctl: Program, earlier_path: str, issuer: Rotating) -> Program:
    """Return the earlier version, with a login of its own in the home that it shares."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(
        f'[profile.p]\npreset = "github"\nclient_id = "c"\nscopes = ["read"]\n'
        f'issuer = "http://127.0.0.1:{issuer.server_address[1]}/login/oauth"\n'
    )
    other = sharing_home(brokerctl, earlier_path)
    done = other("login", "p", "--flow", "device")
    assert done.returncode == 0, done.stderr
    return other


def state(brokerctl: Program) -> str:
    """Return the folder that holds the store."""
    return os.path.join(brokerctl.home, "state")


def stored(brokerctl: Program) -> dict[str, str]:
    """Return the digests of all that is stored: no lock's holder, and no record."""
    found = digests(state(brokerctl))
    return found | {name: "" for name in found if name.startswith(("v1/locks/", "v1/audit/"))}


def ring_version(brokerctl: Program) -> int:
    """Return the version that the key ring's file says."""
    with open(os.path.join(state(brokerctl), "v1", "keys", "ring"), "rb") as file:
        return file.read(5)[4]


def test_reading_changes_nothing(brokerctl: Program, earlier: Program) -> None:
    """A warm hand-out from the earlier store, and the earlier version goes on."""
    for one in (brokerctl, earlier, brokerctl):
        done = one("get", "p")
        assert (done.returncode, done.stdout) == (0, "access-1-of-the-tests\n")
        assert done.stderr == ""
    assert ring_version(brokerctl) == 1
    assert os.listdir(state(brokerctl)) == ["v1"]


def test_the_first_write_raises_the_format_once(brokerctl: Program, earlier: Program) -> None:
    """A copy is made, and said, by the first; the grant of before is used, rotated and kept."""
    entries = digests(os.path.join(state(brokerctl), "v1", "grants"))
    ring = digests(os.path.join(state(brokerctl), "v1", "keys"))
    first, second = brokerctl("get", "p", "--fresh"), brokerctl("get", "p", "--fresh")
    assert (first.returncode, first.stdout) == (0, "access-2-of-the-tests\n")
    assert (second.returncode, second.stdout) == (0, "access-3-of-the-tests\n")
    assert first.stderr.count(NOTE) == 1
    assert os.path.join(state(brokerctl), COPY) in first.stderr
    assert second.stderr == ""
    assert ring_version(brokerctl) == 2
    copy = os.path.join(state(brokerctl), COPY)
    assert digests(os.path.join(copy, "grants")) == entries
    assert digests(os.path.join(copy, "keys")) == ring
    assert sorted(os.listdir(state(brokerctl))) == ["v1", COPY]
    listed = json.loads(brokerctl("status", "--json").stdout)["profiles"][0]
    assert (listed["state"], listed["login_ends_at"]) == ("logged in", None)
    assert earlier("get", "p").returncode == 6


def test_the_earlier_version_stops_in_every_command(brokerctl: Program, earlier: Program) -> None:
    """By name and version, exit 6, and not a byte is another than before."""
    assert brokerctl("get", "p", "--fresh").returncode == 0
    before = digests(state(brokerctl))
    for command in REFUSED:
        done = earlier(*command.split())
        assert done.returncode == 6, command
        assert "keys/ring has format 2 and this brokerctl reads 1" in done.stderr, command
    asked = "protocol=https\nhost=github.com\n\n"
    assert earlier("helper", "git", "get", stdin=asked).stdout == ""
    doctor = earlier("doctor")
    assert doctor.returncode != 0
    assert "keys/ring has format 2 and this brokerctl reads 1" in doctor.stdout
    assert digests(state(brokerctl)) == before


def test_what_later_versions_write_stops_this_one_too(brokerctl: Program, earlier: Program) -> None:
    """The same rule for the next format: this program stops at a ring of version 3."""
    path = os.path.join(state(brokerctl), "v1", "keys", "ring")
    with open(path, "r+b") as file:
        file.seek(4)
        file.write(b"\x03")
    before = digests(state(brokerctl))
    for command in REFUSED:
        done = brokerctl(*command.split())
        assert done.returncode == 6, command
        assert "keys/ring has format 3 and this brokerctl reads 2" in done.stderr, command
    assert digests(state(brokerctl)) == before
    assert earlier.path != brokerctl.path


def test_doctor_speaks_of_the_copy_until_it_has_gone(brokerctl: Program, earlier: Program) -> None:
    """It holds what was revoked since: after its time, `store gc` is what ends it."""

    def found() -> list[tuple[str, str | None]]:
        done = brokerctl("doctor", "--offline", "--json")
        every = json.loads(done.stdout)["findings"]
        return [(one["state"], one["hint"]) for one in every if "lies in a copy" in one["what"]]

    assert found() == []
    assert brokerctl("get", "p", "--fresh").returncode == 0
    assert found() == [("ok", None)]
    assert brokerctl("store", "gc").returncode == 0
    os.utime(os.path.join(state(brokerctl), COPY), (0, time.time() - 91 * 86400))
    assert found() == [("warning", "run 'brokerctl store gc'")]
    assert brokerctl("store", "gc").returncode == 0
    assert found() == []
    assert earlier("get", "p").returncode == 6


def test_revoke_says_where_a_token_is_held_that_it_could_not_kill(
    brokerctl: Program, earlier: Program
) -> None:
    """This issuer revokes nothing: dropped from the store, its tokens live on in the copy."""
    copy = os.path.join(state(brokerctl), COPY)
    done = brokerctl("revoke", "p")
    assert done.returncode == 9
    assert f"what is not dead may lie in {copy} too" in done.stderr
    shutil.rmtree(copy)
    assert brokerctl("login", "p", "--flow", "device").returncode == 0
    done = brokerctl("revoke", "p")
    assert (done.returncode, "may lie in" in done.stderr) == (9, False)
    assert earlier("get", "p").returncode == 6


def test_the_copy_takes_the_place_of_the_store(brokerctl: Program, earlier: Program) -> None:
    """Who has to go back puts it there: the earlier version serves what it had then."""
    assert brokerctl("get", "p", "--fresh").returncode == 0
    shutil.rmtree(os.path.join(state(brokerctl), "v1"))
    os.rename(os.path.join(state(brokerctl), COPY), os.path.join(state(brokerctl), "v1"))
    done = earlier("get", "p")
    assert (done.returncode, done.stdout) == (0, "access-1-of-the-tests\n")


def test_without_room_for_the_copy_nothing_is_changed(
    brokerctl: Program, earlier: Program, issuer: Rotating
) -> None:
    """The request is not sent, so no grant is at stake; the warm hand-out goes on."""
    with open(os.path.join(state(brokerctl), COPY), "w"):
        pass  # in its way, and not ours to remove
    before = stored(brokerctl)
    done = brokerctl("get", "p", "--fresh")
    assert done.returncode == 6
    assert "no copy of it could be made" in done.stderr
    assert issuer.issued == 1
    assert stored(brokerctl) == before
    assert ring_version(brokerctl) == 1
    assert brokerctl("get", "p").stdout == earlier("get", "p").stdout == "access-1-of-the-tests\n"


def test_rekey_leaves_no_copy_that_the_old_key_opens(brokerctl: Program, earlier: Program) -> None:
    """The copy goes with the key; an older ring that was never raised stays what it is."""
    done = brokerctl("store", "rekey")
    assert done.returncode == 0
    assert ring_version(brokerctl) == 1
    assert earlier("get", "p").stdout == "access-1-of-the-tests\n"
    assert brokerctl("get", "p", "--fresh").returncode == 0
    done = brokerctl("store", "rekey", "--new-keys")
    assert done.returncode == 0
    assert "the copy of the store in its earlier format is removed" in done.stdout + done.stderr
    assert os.listdir(state(brokerctl)) == ["v1"]
    assert brokerctl("get", "p").stdout == "access-2-of-the-tests\n"


def test_new_keys_leave_no_copy_that_the_old_ones_open(
    brokerctl: Program, earlier: Program
) -> None:
    """Sealing anew is the first write of this version here, so the copy is made in its midst."""
    done = brokerctl("store", "rekey", "--new-keys")
    assert done.returncode == 0
    assert ring_version(brokerctl) == 2
    assert NOTE in done.stderr
    assert "the copy of the store in its earlier format is removed" in done.stdout
    assert os.listdir(state(brokerctl)) == ["v1"]
    assert brokerctl("get", "p").stdout == "access-1-of-the-tests\n"
    assert earlier("get", "p").returncode == 6


def test_an_earlier_archive_is_restored(brokerctl: Program, earlier: Program) -> None:
    """And an archive of this version is refused by the earlier one, by its version."""
    words = {"BROKERCTL_PASSPHRASE": "correct horse battery staple"}
    old, new = (os.path.join(brokerctl.home, name) for name in ("old.archive", "new.archive"))
    assert earlier("store", "backup", old, env=words).returncode == 0
    assert brokerctl("store", "backup", new, env=words).returncode == 0
    shutil.rmtree(state(brokerctl))
    refused = earlier("store", "restore", new, env=words)
    assert refused.returncode == 6
    assert "has version 2, and this brokerctl reads 1" in refused.stderr
    shutil.rmtree(state(brokerctl))
    done = brokerctl("store", "restore", old, env=words)
    assert done.returncode == 0, done.stderr
    assert (
        brokerctl("get", "p").stdout == "access-2-of-the-tests\n"
    )  # no token of a backup is served


@pytest.mark.parametrize("count", [6])
def test_two_versions_at_once_lose_nothing(
    brokerctl: Program, earlier: Program, issuer: Rotating, count: int
) -> None:
    """Each has a token or stops; the issuer sees no refresh token twice, and the login lives on."""
    runs = [one.start("get", "p", "--fresh") for _ in range(count) for one in (earlier, brokerctl)]
    codes = []
    for run in runs:
        said, error = run.communicate(timeout=120)
        codes.append(run.returncode)
        assert run.returncode in {0, 6}, error
        assert said.startswith("access-") == (run.returncode == 0)
    assert codes[1::2] == [0] * count, "this version is never kept from its store"
    assert issuer.reused == 0
    assert brokerctl("get", "p", "--fresh").returncode == 0
    assert issuer.reused == 0
    check = brokerctl("store", "check")
    assert (check.returncode, "damaged" in check.stdout) == (0, False), check.stdout
