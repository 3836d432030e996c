"""The canary finds what it is sent for: a search that never barks would prove nothing."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.canary.needles import Known, needles, parse_known
from tests.canary.search import main, search

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REFRESH = "rt-0123456789abcdefghij"
SECRET = "planted-%41+:&-secret"
IDENTITY = "id-0123456789abcdefghij"
ACCESS = "at-0123456789abcdefghij"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder in which an issuer noted one secret of each of three kinds."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "home" / "state" / "v1").mkdir(parents=True)
    notes = {"refresh_token": REFRESH, "client_secret": SECRET, "access_token": ACCESS}
    lines = [json.dumps({"kind": kind, "value": value}) for kind, value in notes.items()]
    (tmp_path / "secrets" / "1").write_text("\n".join([*lines, '{"kind": "device']))
    return tmp_path


FORMS: dict[str, Callable[[str], str]] = {
    "raw": lambda text: text,
    "in the middle": lambda text: f"\0\0{text}\n",
    "percent-encoded": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of a pair": lambda text: base64.b64encode(f"id:{text}".encode()).decode(),
    "base64url in JSON": lambda text: base64.urlsafe_b64encode(f'{{"a":"{text}"'.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [REFRESH, SECRET])
def test_a_secret_in_what_brokerctl_keeps_is_found(folder: Path, form: str, value: str) -> None:
    """Whatever form a secret was written in, the search ends with 1."""
    (folder / "home" / "state" / "v1" / "log").write_text(FORMS[form](value))
    assert main([os.fspath(folder)]) == 1


def test_a_name_with_a_newline_hides_nothing(folder: Path) -> None:
    """A hostile file name neither stops the search nor turns a hit into another file's."""
    odd = folder / "home" / "state" / "v1" / "two\nlines"
    odd.mkdir()
    (odd / "log").write_text(f"{REFRESH}\n{SECRET}\n")
    assert main([os.fspath(folder)]) == 1
    assert {
        found.path for found in search(os.fspath(folder), {Known("refresh_token", REFRESH)})
    } == {"home/state/v1/two\nlines/log"}


def test_nothing_leaked_is_fine(folder: Path) -> None:
    """Files without a secret, and the issuers' own notes, end with 0."""
    (folder / "home" / "state" / "v1" / "log").write_text(REFRESH[:-4])
    assert main([os.fspath(folder)]) == 0


def test_the_end_of_a_secret_is_not_the_secret(tmp_path: Path) -> None:
    """What is looked for first is the end, which two may have in common: each is told apart."""
    end = "0123456789" * 4
    known = {Known("refresh_token", f"first-{end}"), Known("device_code", f"second-{end}")}
    (tmp_path / "log").write_text(end)
    assert search(str(tmp_path), known) == []
    (tmp_path / "log").write_text(f"{end} second-{end}")
    assert [found.kind for found in search(str(tmp_path), known)] == ["device_code"]
    (tmp_path / "log").write_text(f"first-{end} second-{end}")
    assert [found.kind for found in search(str(tmp_path), known)] == [
        *("device_code", "refresh_token")
    ]


@pytest.mark.parametrize(
    ("args", "stream", "code"),
    [
        ("get\0ci", "stdout", 0),
        ("exec\0-p\0ci\0--\0env", "stdout", 0),
        ("helper\0goauth\0https://x.example", "stdout", 0),
        ("helper\0list", "stdout", 1),
        ("/venv/bin/brokerctl-bazel\0https://x.example", "stdout", 0),
        ("'/a folder/vault-helper'\0get", "stdout", 0),
        ("/venv/bin/keyring\0get\0x", "stderr", 1),
        ("git\0clone", "stdout", 1),
        ("keyring\0get\0x\0alice", "stdout", 0),
        ("keyring\0set\0x\0alice", "stdout", 1),
        ("git\0credential\0fill", "stdout", 0),
        ("git\0credential\0fill", "stderr", 1),
        ("get\0ci", "stderr", 1),
        ("status", "stdout", 1),
        (f"get\0{ACCESS}", "args", 1),
    ],
)
def test_an_access_token_is_only_where_it_was_asked_for(
    folder: Path, args: str, stream: str, code: int
) -> None:
    """Stdout of `get` and `exec` may hold an access token, every other stream may not."""
    home = folder / "home"
    (home / "run-1.args").write_text(args)
    if stream != "args":
        (home / f"run-1.{stream}").write_text(f"{ACCESS}\n")
    assert main([os.fspath(folder)]) == code


def test_a_client_secret_may_be_where_the_test_put_it(folder: Path) -> None:
    """A file that a reference names holds the secret; brokerctl's streams never do."""
    (folder / "home" / "client-secret").write_text(SECRET)
    assert main([os.fspath(folder)]) == 0
    (folder / "home" / "run-1.stderr").write_text(SECRET)
    assert main([os.fspath(folder)]) == 1


def test_a_job_s_identity_may_be_where_the_platform_put_it(folder: Path) -> None:
    """A projected token is a file's; what brokerctl prints and keeps never holds it."""
    (folder / "secrets" / "2").write_text(json.dumps({"kind": "identity_token", "value": IDENTITY}))
    (folder / "home" / "projected-token").write_text(f"e30.e30.{IDENTITY}")
    assert main([os.fspath(folder)]) == 0
    for name in ("run-1.stdout", "state/v1/log"):
        (folder / "home" / name).write_text(f"e30.e30.{IDENTITY}")
        assert main([os.fspath(folder)]) == 1
        (folder / "home" / name).unlink()


def test_a_whole_run_must_know_something_to_look_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --complete, a kind of which no secret is known is a failure."""
    assert main([os.fspath(folder), "--complete"]) == 1
    said = capsys.readouterr().err
    assert "no device_code is known" in said
    assert REFRESH not in said


def test_needles_are_not_too_short_to_mean_anything() -> None:
    """Every form of a secret that is long enough is long enough itself."""
    known = parse_known('{"kind": "k", "value": "12345678"}\n{"kind": "k", "value": "1234567"}')
    assert [secret.value for secret in known] == ["12345678"]
    assert min(map(len, needles("12345678"))) >= 8


def test_a_hole_is_passed_over_and_what_lies_beside_it_is_found(tmp_path: Path) -> None:
    """A sparse file of a terabyte would be one line for grep, which the kernel kills for it."""
    secret = "rt_" + "k9" * 20
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "beside").write_text(secret)
    found = search(str(tmp_path), {Known("refresh_token", secret)})
    assert [(one.path, one.kind, one.is_allowed) for one in found] == [
        ("beside", "refresh_token", False)
    ]
