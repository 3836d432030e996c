"""Appending: what comes after a crash, an edit, a rotation, a new key, a refusal that repeats."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.audit.append import Log
from brokerctl.audit.recover import ChainLostError
from brokerctl.audit.repair import repair
from brokerctl.errors import AuditError, KeyLockedError
from brokerctl.jsonlite import loads
from brokerctl.keys.making import new_ring, with_new
from brokerctl.model import Requester
from brokerctl.platform.system import SYSTEM, System
from tests.audit_log import RING, SmallLog

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.keys.ring import KeyRing

DENIED: dict[str, Any] = {"profile": "p", "decision": {"effect": "deny", "rule": "hosts"}}


@pytest.fixture
def small(tmp_path: Path) -> SmallLog:
    """Return an empty log."""
    return SmallLog(tmp_path)


def events(small: SmallLog, name: str = "log") -> list[str]:
    """Return the events of a file's lines, "?" for what is no record."""
    found = []
    for line in small.lines(name):
        try:
            found.append(str(loads(line)["event"]))
        except ValueError:
            found.append("?")
    return found


def test_numbers_count_from_one_and_are_returned(small: SmallLog) -> None:
    """The caller may name the record that it wrote."""
    assert [small.log.append("e", {}) for _ in range(3)] == [1, 2, 3]
    assert small.log.append("e", {}, durable=True) == 4


def test_a_record_says_where_it_was_written(small: SmallLog) -> None:
    """A pid means something only with its host, boot and namespace."""
    small.write(b"half")
    small.fill(1)
    for line in small.lines()[1:]:
        record = loads(line)
        assert record["host"] == os.uname().nodename
        assert len(record["boot"]) == 36
        assert record["pid_ns"] == os.stat("/proc/self/ns/pid").st_ino


def test_files_are_private(small: SmallLog) -> None:
    """Whatever the umask: 0600, and nothing beside them."""
    before = os.umask(0)
    try:
        small.fill(1)
    finally:
        os.umask(before)
    assert small.names() == ["log", "log.lock"]
    assert {os.stat(small.path / name).st_mode & 0o777 for name in small.names()} == {0o600}


@pytest.mark.parametrize("name", ["log", "log.lock"])
@pytest.mark.parametrize("kind", ["link", "hard link", "open", "folder", "fifo"])
def test_a_file_that_is_not_ours_alone_is_refused(small: SmallLog, name: str, kind: str) -> None:
    """Nothing is appended to what another process may have put there: exit code 7."""
    small.fill(1)
    path, aside = small.path / name, small.path.parent / "aside"
    os.rename(path, aside)
    if kind == "link":
        path.symlink_to(aside)
    elif kind == "hard link":
        path.hardlink_to(aside)
    elif kind == "open":
        path.write_bytes(b"")
        path.chmod(0o640)
    elif kind == "folder":
        path.mkdir(0o700)
    else:
        os.mkfifo(path, 0o600)
    before = aside.read_bytes()
    with pytest.raises(AuditError, match=str(path)):
        small.fill(1)
    assert aside.read_bytes() == before


def test_an_edited_last_line_is_named_and_hand_outs_go_on(small: SmallLog) -> None:
    """The edit is followed by `log.tampered`, and `verify` ends 7 from then on."""
    small.fill(3)
    small.write(small.read().replace(b'"number":2', b'"number":7'))
    assert small.log.append("e", {}) == 5
    assert events(small)[3:] == ["log.tampered", "e"]
    small.fill(2)
    problem = small.verify().problems[0]
    assert (problem.kind, problem.line, problem.after) == ("edited", 3, 2)
    assert problem.message.endswith("noticed by record 4")


def test_an_edit_can_not_be_hidden_behind_a_torn_line(small: SmallLog) -> None:
    """A whole line with a wrong MAC is an edit, also where half a line follows it."""
    small.fill(3)
    small.write(small.read().replace(b'"number":2', b'"number":7') + b'{"v":1,"se')
    small.fill(1)
    assert "log.tampered" in events(small)
    assert small.kinds() == ["edited"]


def test_more_than_a_line_is_no_torn_line(small: SmallLog) -> None:
    """What no write of ours can have left is not explained away."""
    small.fill(2)
    small.write(small.read() + b"x" * 4096)
    small.fill(1)
    assert small.kinds() == ["edited"]


def test_zeros_of_a_file_system_are_torn(small: SmallLog) -> None:
    """After a power cut, a write that was lost may be there as zeros."""
    small.fill(2)
    small.write(small.read() + bytes(9000))
    assert small.kinds() == ["torn"]
    small.fill(1)
    assert small.kinds() == []


def test_writers_that_die_one_after_the_other_are_all_named(small: SmallLog) -> None:
    """Each leaves half of a line that itself began by explaining the half before."""
    small.fill(2)
    small.write(small.read() + b'{"v":1,"seq":3' + b'\n{"v":1,"seq":3,"kid"' + b"\n")
    small.write(small.read() + b'{"v":1')
    assert small.kinds() == ["torn"]
    small.fill(1)
    report = small.verify()
    assert report.is_whole
    assert len(report.notices) == 1


def test_the_first_write_of_all_may_be_torn(small: SmallLog) -> None:
    """A full disk at the first use does not end in a log that nobody can write to."""
    small.write(b'{"v":1,"seq":1,"k')
    assert small.log.append("e", {}) == 2
    assert small.kinds() == []


def test_a_chain_that_is_lost_needs_repair(small: SmallLog) -> None:
    """With no right line in the last MiB nothing is handed out, and the hint is the way on."""
    small.fill(2)
    small.write(small.read() + (b"x" * 99 + b"\n") * 12_000)
    with pytest.raises(ChainLostError) as caught:
        small.fill(1)
    assert caught.value.exit_code == 7
    assert caught.value.hint == "run 'brokerctl audit repair'"
    done = repair(small.log, Requester(uid=1, pid=2))
    assert done.closed == "log-1"
    assert events(small) == ["log.continued", "log.checked"]
    small.fill(1)
    assert small.kinds() == ["edited"]


def test_repair_goes_on_where_nothing_is_left(small: SmallLog) -> None:
    """Even a log without one right line is closed aside and continued."""
    small.write((b"x" * 99 + b"\n") * 12_000)
    assert repair(small.log, Requester(uid=1, pid=2)).closed == "log-1"
    small.fill(1)
    assert small.kinds() == ["edited"]


def test_rotation_keeps_the_chain(tmp_path: Path) -> None:
    """Above the size the file gets the name of its first number; the next one continues it."""
    small = SmallLog(tmp_path, rotate=1500).fill(12)
    closed = [name for name in small.names() if name.startswith("log-")]
    assert len(closed) > 1
    assert events(small, max(closed))[0] == "log.continued"
    first = [loads(small.lines(name)[0])["seq"] for name in closed]
    assert closed == [f"log-{seq}" for seq in first]
    assert small.verify(parse=True).is_whole
    assert small.verify().segments == len(closed) + ("log" in small.names())


def test_a_rotation_that_fails_is_tried_again(tmp_path: Path) -> None:
    """The record is written: the token may leave, and the next writer closes the file."""

    class Stuck(System):
        """Can't rename."""

        def rename(self, *_: object, **__: object) -> None:
            """Fail."""
            raise PermissionError(13, "no")

    small = SmallLog(tmp_path, rotate=1, system=Stuck()).fill(2)
    assert small.names() == ["log", "log.lock"]
    small.log.system = small.log.folder.system = SYSTEM
    small.fill(1)
    assert small.names() == ["log-1", "log.lock"]
    assert small.verify().records == 3


def test_a_crash_between_rename_and_new_file_loses_nothing(tmp_path: Path) -> None:
    """The head of the newest closed segment is where the chain goes on."""
    small = SmallLog(tmp_path, rotate=1).fill(2)
    assert "log" not in small.names()
    assert small.kinds() == []
    small.write(b"")
    small.fill(1)
    assert small.verify(parse=True).is_whole


def test_a_closed_segment_is_never_replaced(tmp_path: Path) -> None:
    """An edited first line can't make a rotation overwrite what is closed."""
    small = SmallLog(tmp_path, rotate=1).fill(1)
    before = small.read("log-1")
    small.log.rotate = 1 << 24
    small.fill(2)
    small.write(small.read().replace(b'"seq":2,', b'"seq":1,', 1))
    small.log.rotate = 1
    small.fill(1)
    assert small.read("log-1") == before
    assert not small.verify().is_whole


def test_damage_at_the_end_of_a_closed_segment_is_named_by_the_next(tmp_path: Path) -> None:
    """`log.continued` says what it found there."""
    small = SmallLog(tmp_path, rotate=1).fill(1)
    small.write(small.read("log-1") + b'{"v":1', "log-1")
    small.log.rotate = 1 << 24
    small.fill(1)
    assert loads(small.lines()[0])["found"] == "log.repaired"
    assert small.kinds() == []


def with_ring(small: SmallLog, ring: KeyRing) -> Log:
    """Return the same log as a process with another ring sees it."""
    return Log(small.log.folder, ring, clock=small.clock)


def test_a_new_key_continues_the_chain(small: SmallLog) -> None:
    """After `rekey` the old records are verified by the old key, the new ones by the new."""
    small.fill(2)
    small.log.close_segment()
    newer = with_new(RING, "log")
    log = with_ring(small, newer)
    log.append("keys.renewed", {})
    small.log.ring = newer
    assert loads(small.lines()[0])["kid"] == 2
    assert small.verify(parse=True).is_whole


def test_a_process_with_the_older_ring_goes_on_too(small: SmallLog) -> None:
    """Whoever opened the ring before `rekey` reads it again and accuses nobody."""
    newer = with_new(RING, "log")
    rings = [newer]  # it is read once
    small.log.renew = rings.pop
    small.fill(1)
    with_ring(small, newer).append("keys.renewed", {})
    small.fill(2)
    assert events(small) == ["token.handed_out", "keys.renewed", *["token.handed_out"] * 2]
    assert small.log.ring == newer
    assert small.kinds() == []


def test_the_older_ring_goes_on_after_a_segment_too(small: SmallLog) -> None:
    """`rekey` closes the segment: the chain comes from a closed one under the newer key."""
    newer = with_new(RING, "log")
    small.log.renew = lambda: newer
    small.fill(1)
    with_ring(small, newer).append("keys.renewed", {})
    with_ring(small, newer).close_segment()
    small.fill(1)
    assert events(small) == ["log.continued", "token.handed_out"]
    assert small.kinds() == []


@pytest.mark.parametrize("renew", [None, lambda: RING, lambda: with_new(RING, "log")])
def test_a_line_under_a_key_that_nobody_has_is_an_edit(small: SmallLog, renew: Any) -> None:  # noqa: ANN401 - as Log's
    """A forged line may name any key: neither an absent nor a newer one vouches for it."""
    small.log.renew = renew
    small.fill(2)
    *lines, last = small.lines()
    small.write(b"".join(lines) + last.replace(b'"kid":1', b'"kid":2').replace(b'"p"', b'"q"'))
    small.fill(1)
    assert events(small)[2:] == ["log.tampered", "token.handed_out"]
    assert small.kinds() == ["edited"]


def test_a_newer_line_is_not_judged_while_the_ring_is_locked(small: SmallLog) -> None:
    """Neither believed nor accused: no record, no token, and the hint is the way on."""

    def locked() -> KeyRing:
        raise KeyLockedError("the key is locked", hint="run 'brokerctl unlock'")

    small.fill(1)
    with_ring(small, with_new(RING, "log")).append("keys.renewed", {})
    small.log.renew, before = locked, small.read()
    with pytest.raises(AuditError, match="the key is locked") as caught:
        small.fill(1)
    assert caught.value.hint == "run 'brokerctl unlock'"
    assert small.read() == before


def test_another_key_of_the_same_id_verifies_nothing(small: SmallLog) -> None:
    """A ring that was made anew can't vouch for the old records."""
    small.fill(3)
    small.log.ring = new_ring()
    assert small.kinds() == ["edited"]
    small.fill(1)
    assert "log.tampered" in events(small)


def test_identical_refusals_are_counted(small: SmallLog) -> None:
    """A helper that asks a hundred times leaves one record, and then their number."""
    seqs = {
        small.log.append("token.denied", {**DENIED, "requester": {"uid": 1, "pid": pid}})
        for pid in range(30)
    }
    assert seqs == {1}
    assert small.log.append("e", {}) == 2
    small.clock.now += 60
    small.fill(1)
    assert events(small) == ["token.denied", "e", "log.repeated", "token.handed_out"]
    repeated = loads(small.lines()[2])
    assert (repeated["of"], repeated["count"]) == (1, 29)


def test_a_refusal_after_a_minute_is_recorded_again(small: SmallLog) -> None:
    """The count belongs to one minute."""
    small.log.append("token.denied", DENIED)
    small.clock.now += 60
    small.log.append("token.denied", DENIED)
    assert events(small) == ["token.denied", "token.denied"]


def test_what_differs_is_not_counted_away(small: SmallLog) -> None:
    """Another tool, another profile, another reason: each has its record."""
    for fields in (
        DENIED,
        {**DENIED, "profile": "q"},
        {**DENIED, "requester": {"tool": "git"}},
        {**DENIED, "decision": {"effect": "deny", "rule": "other"}},
    ):
        small.log.append("token.denied", fields)
        small.log.append("token.denied", fields)
    assert events(small) == ["token.denied"] * 4


def test_hand_outs_are_never_counted(small: SmallLog) -> None:
    """Every token that leaves has a record of its own."""
    allowed = {**DENIED, "decision": {"effect": "allow"}}
    assert [small.log.append("token.handed_out", allowed) for _ in range(3)] == [1, 2, 3]


def test_many_different_refusals_keep_their_counts(small: SmallLog) -> None:
    """There is room for a few counters; one that must go is reported first."""
    for profile in range(40):
        for _ in range(2):
            small.clock.now -= 0.9
            small.log.append("token.denied", {**DENIED, "profile": str(profile)})
    small.clock.now += 100
    small.fill(1)
    assert events(small).count("token.denied") == events(small).count("log.repeated") == 40
    assert small.verify(parse=True).is_whole


def test_a_planted_counter_is_nothing(small: SmallLog) -> None:
    """Without the key nobody can have a refusal counted away instead of recorded."""
    small.log.append("token.denied", DENIED)
    lock = small.read("log.lock")
    small.clock.now += 70
    since = lock[128:].split()[2]
    later = b"%d" % int((small.clock.now - 5) * 1_000_000)
    small.write(lock.replace(since, later), "log.lock")
    small.log.append("token.denied", DENIED)
    assert events(small) == ["token.denied", "token.denied"]


def test_the_hash_of_skipped_bytes_is_no_mac(small: SmallLog) -> None:
    """A forger who tears a line at will is not told the MAC of what it holds."""
    small.fill(1)
    forged = small.lines()[0].replace(b'"seq":1', b'"seq":2')[:-75]
    small.write(small.read() + forged)
    small.fill(1)
    named = loads(small.lines()[2])["hash"]
    assert isinstance(named, str)
    line = forged + b',"mac":"' + named.encode() + b'"}\n'
    small.write(small.lines()[0] + line)
    assert small.kinds() == ["edited"]
