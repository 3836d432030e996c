"""What can be done by setting a job's variables and files: little; nothing waits or is shown."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.audit.record import MAX_BYTES
from brokerctl.config.references import read_token_file
from brokerctl.errors import BrokerError, DeniedError, UsageError
from brokerctl.identity import find_job, load
from brokerctl.identity.proof import prove
from brokerctl.model import Reference
from tests.audit_log import SmallLog
from tests.faults.chain_room import ONE, Chain
from tests.identities import GITHUB, answer_for, jwt, play

if TYPE_CHECKING:
    from pathlib import Path

PULL = {**GITHUB, "GITHUB_EVENT_NAME": "pull_request"}
LONG = "x" * 10_000
ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e"
FILE = Reference(kind="file", target=("x",))


def named(path: Path) -> Reference:
    """Return the reference to a token's file."""
    return FILE.replace(target=(str(path),))


@pytest.mark.parametrize("kind", ["fifo", "folder", "zeros", "huge", "missing"])
def test_an_event_that_can_not_be_read_is_a_fork_s(tmp_path: Path, kind: str) -> None:
    """Security: whoever makes the file can make nobody wait, and has no identity by it."""
    path = tmp_path / "event"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zeros":
        path = "/dev/zero"  # type: ignore[assignment]  # without an end
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 34)
    begun = time.monotonic()
    chain = Chain(str(tmp_path / "store"))
    chain.environ |= {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(path)}
    assert chain.try_get() is None
    assert isinstance(chain.error, DeniedError)
    assert chain.identities == 0
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("kind", ["fifo", "folder", "open to others", "missing"])
def test_a_token_file_that_is_none(tmp_path: Path, kind: str) -> None:
    """It is refused before anything is sent, and nobody waits for a pipe."""
    path = tmp_path / "token"
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir()
    elif kind == "open to others":
        path.write_text(jwt())
        path.chmod(0o644)
    if kind != "open to others":
        assert load("file").find_ids(named(path), {}) is None
    with pytest.raises(UsageError):
        read_token_file(str(path), {})


def test_a_file_that_is_replaced_in_the_middle(tmp_path: Path) -> None:
    """A kubelet puts another folder behind the link: each reading has one whole token."""
    for number in (1, 2):
        (tmp_path / f"data{number}").mkdir()
        token = tmp_path / f"data{number}" / "token"
        token.write_text(jwt(sub="pod", jti=str(number)))
        token.chmod(0o600)
    link, file = tmp_path / "..data", tmp_path / "token"
    link.symlink_to("data1")
    file.symlink_to("..data/token")
    before = load("file").find_ids(named(file), {}), read_token_file(str(file), {})
    (tmp_path / "..new").symlink_to("data2")
    (tmp_path / "..new").replace(link)
    after = load("file").find_ids(named(file), {}), read_token_file(str(file), {})
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_record_has_its_size(tmp_path: Path) -> None:
    """Claims, actors and variables of 10 kB each: the line is cut, and the chain goes on."""
    chain = Chain(str(tmp_path / "store"))
    chain.environ |= {"GITHUB_RUN_ID": LONG, "GITHUB_JOB": ESCAPES}
    act = {"sub": LONG, "act": {"sub": LONG}}
    chain.two.more = {"scope": " ".join(f"s{n}{LONG[:400]}" for n in range(40))}
    chain.two.value = jwt(act=act, sub=LONG)
    chain.try_get()
    small = SmallLog(tmp_path)
    for event, fields in chain.records:
        small.log.append(event, fields)
    lines = small.lines()
    assert len(lines) == len(chain.records) > 1
    assert max(map(len, lines)) <= MAX_BYTES
    assert not any(line[:-1].translate(None, bytes(range(32))) != line[:-1] for line in lines)
    assert small.kinds() == []


def test_claims_that_can_not_be_shown_are_left_out() -> None:
    """Escapes, and what is no text; what is long is cut."""
    claims: dict[str, Any] = {"repository": ESCAPES, "ref": {"a": 1}, "actor": LONG, "sub": ESCAPES}
    token = jwt(aud=ONE, **claims)
    found, _ = play(
        prove(Reference(kind="github", target=()), GITHUB, ONE, time.time()),
        response=answer_for(token),
    )
    assert "\x1b" not in found.claims
    assert "u001b" not in found.claims
    assert len(found.claims) < 2000
    assert "repository" not in found.claims


def test_a_job_s_variables_are_shown_as_they_may_be() -> None:
    """The id is JSON in ASCII, whatever the variables hold."""
    job = find_job(Reference(kind="github", target=()), GITHUB | {"GITHUB_JOB": ESCAPES})
    assert job.id is not None
    assert job.id.isascii()
    assert job.id.isprintable()


@pytest.mark.parametrize("url", ["https://user:pw@evil.example/", "https://evil.example/#", "\n"])
def test_an_address_that_is_none_gets_nothing(tmp_path: Path, url: str) -> None:
    """The request's own token is not sent, and the address is not repeated."""
    chain = Chain(str(tmp_path))
    chain.environ["ACTIONS_ID_TOKEN_REQUEST_URL"] = url
    assert chain.try_get() is None
    assert isinstance(chain.error, BrokerError)
    assert chain.identities == 0
    assert "evil" not in f"{chain.error.message} {chain.error.hint}"
