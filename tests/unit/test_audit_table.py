"""A table on a terminal: what is short stays whole, sentences give way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerctl.cli.audit import print_table

if TYPE_CHECKING:
    import pytest

ROW = ("work", "token", "0123456789ab", "2026-01-05T10:00:00Z", "ended: " + "why " * 40, "read")


def test_a_long_reason_squeezes_no_other_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Profile, kind, fingerprint and time stay readable beside a status of many words."""
    monkeypatch.setenv("COLUMNS", "120")
    print_table(("profile", "kind", "fingerprint", "expires", "status", "scopes"), [ROW])
    shown = capsys.readouterr().out
    assert all(cell in shown for cell in (*ROW[:4], ROW[5]))
    assert shown.count("why") == 40
    assert max(map(len, shown.splitlines())) <= 120
