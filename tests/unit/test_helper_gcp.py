"""Google's executable: what it reads in the environment, and what it answers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.config.words import google
from brokerctl.errors import BrokerError, LoginNeededError, UsageError
from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.gcp import Gcp
from brokerctl.helpers.gcp.setup import GcpSetup
from brokerctl.helpers.outcomes import Malformed
from brokerctl.helpers.output_file import leave
from brokerctl.helpers.setups import Part
from brokerctl.platform.system import System
from brokerctl.secret import Secret
from tests.contracts.helper_contract import ANSWER, PROFILE, check, credential, refusal
from tests.contracts.session_contract import POOL
from tests.contracts.test_helper_gcp import ENVIRON, JWT
from tests.faults.faulty import LATE, FaultySystem

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["--profile", "forge"]
PREFIX = "GOOGLE_EXTERNAL_ACCOUNT_"
OURS = PROFILE.replace(google=(POOL, "deploy@shop.iam.gserviceaccount.com"))
PLACE = SetupFile("/home/alice/.local/share/brokerctl/helpers/gcp.json", 0o600)
PART = Part("gcp", (OURS,), "/opt/a b/brokerctl", {"HOME": "/home/alice"})


def wanted(**environ: str) -> CredentialRequest:
    """Return what is asked for, with some variables changed."""
    changed = {f"{PREFIX}{name}": value for name, value in environ.items()}
    found = Gcp().read(WORDS, b"", ENVIRON | changed)
    assert found.reply is None
    return found


def said(answer: HelperReply | None) -> dict[str, object]:
    """Return an answer's JSON; the exit code is 0 in any case."""
    assert answer is not None
    assert (answer.exit_code, answer.note) == (0, None)
    found: dict[str, object] = json.loads(answer.stdout)
    assert found["version"] == 1
    return found


@pytest.mark.parametrize("kind", ["jwt", "id_token"])
def test_the_answer_is_google_s(kind: str) -> None:
    """With the type that was asked for, and the end in whole seconds."""
    asked = wanted(TOKEN_TYPE=f"urn:ietf:params:oauth:token-type:{kind}")
    answer = credential(Gcp(), asked, ANSWER.replace(value=Secret(JWT)), OURS)
    assert said(answer) == {
        "version": 1,
        "success": True,
        "token_type": f"urn:ietf:params:oauth:token-type:{kind}",
        "id_token": JWT,
        "expiration_time": 1795476591,
    }
    assert answer.file is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ALLOW_EXECUTABLES", "0", "is not 1"),
        ("ALLOW_EXECUTABLES", "", "is not 1"),
        ("ALLOW_EXECUTABLES", "true", "is not 1"),
        ("REVOKE", "1", "brokerctl revoke"),
        ("TOKEN_TYPE", "urn:ietf:params:oauth:token-type:saml2", "subject_token_type"),
        ("TOKEN_TYPE", "", "subject_token_type"),
    ],
)
def test_what_is_refused_at_once(name: str, value: str, message: str) -> None:
    """As an answer, whatever the configuration says."""
    try:
        found = Gcp().read(WORDS, b"", ENVIRON | {f"{PREFIX}{name}": value}).reply
    except BrokerError as error:
        found = refusal(Gcp(), error)
    answer = said(found)
    assert answer["success"] is False
    assert message in str(answer["message"])
    assert answer["code"]


@pytest.mark.parametrize("words", [[], ["--profile"], ["--profile", ""], ["x", "y"], [*WORDS, "a"]])
def test_without_a_profile_there_is_no_request(words: list[str]) -> None:
    """And that is said in JSON too."""
    with pytest.raises(MalformedError):
        Gcp().read(words, b"", ENVIRON)
    assert said(Gcp().answer(Malformed()))["success"] is False


@pytest.mark.parametrize("audience", ["", POOL + "x", POOL[:-1], POOL.upper(), f"{POOL} "])
def test_another_pool_gets_nothing(audience: str) -> None:
    """Whoever wrote the credential file chose where the token is sent."""
    check(Gcp(), wanted(), OURS)
    with pytest.raises(UsageError, match="is not the pool"):
        check(Gcp(), wanted(AUDIENCE=audience), OURS)
    with pytest.raises(UsageError, match="names no pool"):
        check(Gcp(), wanted(), PROFILE)
    with pytest.raises(MalformedError):
        wanted(AUDIENCE=f"{POOL}\n/etc/passwd")


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b",
        "a.b.c",
        "..",
        JWT + ".x",
        JWT.replace(".", "..", 1),
        "e30.e30.c2ln",
        "W10.e30.c2ln",
        JWT + "=",
        JWT[4:],
        "eyJhbGciOjF9.e30.c2ln",
    ],
)
def test_what_is_no_jwt(token: str) -> None:
    """Google takes nothing else, so nothing else leaves."""
    with pytest.raises(UsageError, match="is no JWT"):
        credential(Gcp(), wanted(), ANSWER.replace(value=Secret(token)), OURS)


def test_an_output_file_needs_an_end() -> None:
    """The libraries take no kept answer without one."""
    answer = ANSWER.replace(value=Secret(JWT))
    assert credential(Gcp(), wanted(OUTPUT_FILE="/x/y"), answer, OURS).file == "/x/y"
    with pytest.raises(UsageError, match="names no end"):
        credential(Gcp(), wanted(OUTPUT_FILE="/x/y"), answer.replace(expires_at=None), OURS)


def test_a_refusal_says_why_and_what_to_do() -> None:
    """In our own words, escaped, since stderr must stay empty."""
    error = LoginNeededError("no grant\x1b[2J", hint="run 'brokerctl login x'")
    answer = said(refusal(Gcp(), error))
    assert (answer["success"], answer["code"]) == (False, "login_needed")
    assert "\x1b" not in str(answer["message"])
    assert "run 'brokerctl login x'" in str(answer["message"])


def test_the_output_file_is_its_owner_s_alone(tmp_path: object) -> None:
    """Written whole, over an older one; never through a link or among others' files."""
    folder = str(tmp_path)
    os.chmod(folder, 0o700)
    path = os.path.join(folder, "out.json")
    for data in (b"one", b"two"):
        leave(path, data)
        os.chmod(path, 0o644)
        leave(path, data)
        assert os.stat(path).st_mode & 0o777 == 0o600
    os.symlink(path, os.path.join(folder, "link"))
    for wrong in (os.path.join(folder, "link"), "out.json", os.path.join(folder, "no", "x")):
        with pytest.raises(UsageError, match="output file"):
            leave(wrong, b"x")
    for mode in (0o775, 0o777, 0o1777):
        os.chmod(folder, mode)
        with pytest.raises(UsageError, match="others can write"):
            leave(path, b"x")
    os.chmod(folder, 0o700)
    with open(path, "rb") as file:
        assert file.read() == b"two"


class Watching(System):
    """The real calls; remembers which modes a file had that others could have opened."""

    def __init__(self) -> None:
        self.modes: list[int] = []

    def fchmod(self, fd: int, mode: int) -> None:
        """Remember a mode."""
        self.modes.append(mode)
        os.fchmod(fd, mode)


def test_the_output_file_is_never_another_s(tmp_path: Path) -> None:
    """Security: over a file that others can read none is put that they can read for a moment."""
    path, system = tmp_path / "out.json", Watching()
    path.write_text("old")
    path.chmod(0o644)
    leave(str(path), b"a token", system)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"a token", 0o600)
    assert system.modes == [0o600]


def test_an_output_file_that_could_not_be_written_is_not_there(tmp_path: Path) -> None:
    """Where the disk fails behind the rename: the record says that the token went nowhere."""
    path = tmp_path / "out.json"
    with pytest.raises(UsageError, match="can't write the output file"):
        leave(str(path), b"a token", FaultySystem(1, LATE, names=("rename",)))
    assert not path.exists()


def test_the_credential_file() -> None:
    """The pool, the account, and a command whose path may have a space."""
    text = GcpSetup().put(PLACE, "", PART)
    body = json.loads(text)
    assert body["audience"] == POOL
    assert body["service_account_impersonation_url"].endswith(
        "/deploy@shop.iam.gserviceaccount.com:generateAccessToken"
    )
    command = body["credential_source"]["executable"]["command"]
    assert command == "'/opt/a b/brokerctl' helper gcp --profile forge"
    assert GcpSetup().put(PLACE, text, PART) == text
    assert GcpSetup().take(PLACE, text) == ""
    alone = PART._replace(profiles=(OURS.replace(google=(POOL,)),))
    assert "impersonation" not in GcpSetup().put(PLACE, text, alone)
    assert "ALLOW_EXECUTABLES=1" in (GcpSetup().advice(PART) or "")


@pytest.mark.parametrize("text", ["{}", "x", "[]", '{"credential_source": {"file": "x"}}'])
def test_another_s_file_stays(text: str) -> None:
    """What is not ours is not written over, nor removed."""
    assert GcpSetup().take(PLACE, text) is None
    with pytest.raises(UsageError, match="another's file"):
        GcpSetup().put(PLACE, text, PART)


def test_a_profile_without_a_pool() -> None:
    """There is nothing to write."""
    with pytest.raises(UsageError, match="names no pool"):
        GcpSetup().put(PLACE, "", PART._replace(profiles=(PROFILE,)))


def test_what_somebody_adds_to_the_file_stays() -> None:
    """`quota_project_id`, for one: with the next set-up, and when ours is taken out."""
    text = GcpSetup().put(PLACE, "", PART)
    found = {**json.loads(text), "quota_project_id": "shop"}
    again = GcpSetup().put(PLACE, json.dumps(found), PART)
    assert json.loads(again) == found
    assert json.loads(GcpSetup().take(PLACE, again) or "") == {"quota_project_id": "shop"}


@pytest.mark.parametrize(
    "value",
    [
        "x",
        {},
        {"pool": 1},
        {"pool": "https:" + POOL},
        {"pool": POOL + "/x"},
        {"pool": POOL, "service_account": "x"},
        {"pool": POOL, "service_account": "a@b/../c"},
        {"pool": POOL, "project": "x"},
    ],
)
def test_a_table_that_can_not_be_meant(value: object) -> None:
    """Refused by the configuration."""
    with pytest.raises(UsageError):
        google.table(value)


def test_a_table_is_shown_as_it_was_written() -> None:
    """With or without an account; a workforce's pool is one too."""
    for given in (
        {"pool": POOL},
        {"pool": POOL, "service_account": "deploy@shop.iam.gserviceaccount.com"},
        {"pool": "//iam.googleapis.com/locations/global/workforcePools/team/providers/login"},
    ):
        assert google.shown(google.table(given)) == given
