"""The back end of the keyring library: what it runs, for what, and that it never raises."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from keyring.errors import PasswordDeleteError, PasswordSetError

from brokerctl.keyring_backend import SILENCE, Backend, ask, find_program, is_place

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://pypi.example.com/simple/"
ANSWER = '{"username": "robot", "password": "s3cret"}'


def backend(folder: Path, answer: str = ANSWER, code: int = 0) -> Backend:
    """Return one whose brokerctl notes its words, and answers so."""
    program = folder / "brokerctl"
    text = (
        f'printf "%s\\n" "$@" >{folder}/words; cat >{folder}/stdin; echo \'{answer}\'; exit {code}'
    )
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    made = Backend()  # type: ignore[no-untyped-call]  # the library's
    made.brokerctl = str(program)
    return made


def words(folder: Path) -> list[str] | None:
    """Return what brokerctl was given; None if it was not run."""
    path = folder / "words"
    return path.read_text().splitlines() if path.exists() else None


def test_it_runs_the_installed_program(tmp_path: Path) -> None:
    """With an argument list, and nothing on stdin."""
    found = backend(tmp_path).get_credential(URL, None)
    assert found is not None
    assert (found.username, found.password) == ("robot", "s3cret")
    asked = ["helper", "keyring", "--mode=creds", "--output=json", "get", "--", URL]
    assert words(tmp_path) == asked
    assert (tmp_path / "stdin").read_bytes() == b""
    assert backend(tmp_path).get_password(URL, "-x") == "s3cret"
    assert words(tmp_path) == [*asked, "-x"]


def test_in_a_session_brokerctl_asks_its_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets all of our variables, and so the one that names the session's socket."""
    monkeypatch.setenv("BROKERCTL_SOCKET", "/run/session.sock")
    path = f"{tmp_path}/socket"
    made = backend(tmp_path, f"'; printf %s \"$BROKERCTL_SOCKET\" >{path}; echo '{ANSWER}")
    assert made.get_password(URL, "robot") == "s3cret"
    with open(path, encoding="utf-8") as file:
        assert file.read() == "/run/session.sock"


def test_what_is_typed_is_not_read(tmp_path: Path) -> None:
    """The tool's own stdin, perhaps a person's terminal, is left alone."""
    reader, writer = os.pipe()
    os.write(writer, b"yes\n")
    os.close(writer)
    kept = os.dup(0)
    try:
        os.dup2(reader, 0)
        assert backend(tmp_path).get_password(URL, "alice") == "s3cret"
        assert os.read(0, 9) == b"yes\n"
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reader)
    assert (tmp_path / "stdin").read_bytes() == b""


@pytest.mark.parametrize(
    "service", ["mail", "poetry-repository-shop", "-p", "--mode=a.b", "é.fr", ""]
)
def test_a_name_starts_nothing(tmp_path: Path, service: str) -> None:
    """Entries of other programs are answered at once, with None."""
    assert not is_place(service)
    assert backend(tmp_path).get_credential(service, "alice") is None
    assert words(tmp_path) is None


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (ANSWER, 1),
        ("", 0),
        ("nonsense", 0),
        ("[]", 0),
        ('{"username": "a"}', 0),
        ('{"username": "a", "password": null}', 0),
    ],
)
def test_what_is_no_answer_is_none(tmp_path: Path, answer: str, code: int) -> None:
    """After an exception pip would use no keyring at all."""
    assert backend(tmp_path, answer, code).get_credential(URL, None) is None
    assert backend(tmp_path, answer, code).get_password(URL, "alice") is None


def test_words_that_no_process_can_have(tmp_path: Path) -> None:
    """A NUL or half a character is nobody's."""
    for odd in ("a\0b", "a\ud800"):
        assert backend(tmp_path).get_credential(f"{URL}{odd}", None) is None
        assert backend(tmp_path).get_password(URL, odd) is None


def test_a_program_that_does_not_run(tmp_path: Path) -> None:
    """Absent, not executable, or no program."""
    made = backend(tmp_path)
    program = tmp_path / "brokerctl"
    program.write_text("nonsense")
    assert made.get_credential(URL, None) is None
    program.chmod(0o600)
    assert made.get_credential(URL, None) is None
    program.unlink()
    assert made.get_credential(URL, None) is None


def test_a_program_that_does_not_end(tmp_path: Path) -> None:
    """It is ended, whatever it has started, and the tool goes on."""
    program = tmp_path / "brokerctl"
    program.write_text("#!/bin/sh\nsleep 60 &\nexec sleep 60\n")
    program.chmod(0o755)
    begun = time.monotonic()
    assert ask(str(program), URL, None, 0.3) is None
    assert time.monotonic() - begun < 20


def test_the_working_folder_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security: whatever lies in a cloned repository is never run."""
    made = backend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for given in ("brokerctl", "./brokerctl", ""):
        made.brokerctl = given
        program = find_program(given)
        assert program is None or not program.startswith(str(tmp_path))
        if given:
            assert made.get_credential(URL, None) is None
    assert words(tmp_path) is None


def test_the_library_s_own_property_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KEYRING_PROPERTY_BROKERCTL, for environments where brokerctl is not."""
    backend(tmp_path)
    monkeypatch.setenv("KEYRING_PROPERTY_BROKERCTL", str(tmp_path / "brokerctl"))
    made = Backend()  # type: ignore[no-untyped-call]  # the library's
    assert made.get_password(URL, "alice") == "s3cret"


def test_brokerctl_never_asks_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a command of brokerctl's own ends here, nothing is run."""
    monkeypatch.setenv(SILENCE, "1")
    assert backend(tmp_path).get_credential(URL, None) is None
    assert words(tmp_path) is None


CHAIN = """
from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from brokerctl.keyring_backend import Backend

class Kept(KeyringBackend):
    priority = 1
    passwords = {}
    def get_password(self, *key):
        return self.passwords.get(key)
    def set_password(self, service, username, password):
        self.passwords[service, username] = password
    def delete_password(self, *key):
        del self.passwords[key]

chain = ChainerBackend()
print(*(type(ring).__name__ for ring in chain.backends))
chain.set_password("mail", "alice", "hunter2")
print(chain.get_password("mail", "alice"))
chain.delete_password("mail", "alice")
print(chain.get_password("mail", "alice"))
"""


def test_nothing_is_kept_here(tmp_path: Path) -> None:
    """Refused where nobody else would keep it: the library's chain would end in silence."""
    made = backend(tmp_path)
    with pytest.raises(PasswordSetError, match="keeps no passwords") as caught:
        made.set_password("mail", "alice", "hunter2")
    assert not isinstance(caught.value, NotImplementedError)
    with pytest.raises(PasswordDeleteError, match="keeps no passwords"):
        made.delete_password("mail", "alice")
    assert words(tmp_path) is None


def test_another_back_end_keeps_it() -> None:
    """In the library's chain ours is asked first, and what it does not keep the next one does."""
    done = subprocess.run(
        [sys.executable, "-c", CHAIN], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "Backend Kept\nhunter2\nNone\n"
