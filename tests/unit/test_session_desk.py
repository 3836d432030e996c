"""The desk of a session at its end: who is being answered, and who comes too late."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from brokerctl.errors import SessionEndedError
from brokerctl.session.cleanup import SessionEnd
from brokerctl.session.serve.desk import SessionDesk, SessionTerms
from tests.unit.test_session_cleanup import ID, Place

if TYPE_CHECKING:
    from pathlib import Path


def make_desk() -> SessionDesk:
    """Return a desk of which nothing is asked."""
    home = SimpleNamespace(layers=SimpleNamespace(fingerprint_parts=lambda: ()))
    terms = SessionTerms(id="0" * 32, profiles=("p",))
    nothing = cast("Any", None)
    return SessionDesk(cast("Any", home), terms, nothing, nothing, nothing)


def test_the_end_waits_for_who_is_being_answered() -> None:
    """It says so where that takes too long, and nobody comes in any more."""
    desk = make_desk()
    with desk.busy():
        assert desk.close(0.01) is False
        with pytest.raises(SessionEndedError), desk.busy():
            pytest.fail("it has ended")
    assert desk.close(0.01) is True


def test_a_token_that_may_be_on_its_way_keeps_the_entry(tmp_path: Path) -> None:
    """So that a later command ends it: nobody else knows of it."""
    tmp_path.chmod(0o700)
    place = Place(tmp_path)
    ends = SessionEnd(ID, ("p",), place.tools(), has_files=False)
    ends.begin()
    ends.leave_open()
    ends.end()
    assert place.session().id == ID
