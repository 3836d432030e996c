"""What is masked is written while more is read: in order, all of it, and never for nobody."""

from __future__ import annotations

import os
import threading
import time

import pytest

from brokerctl.session.relay import Writer


def test_all_of_it_in_order() -> None:
    """More pieces than are on their way at once, to a reader that is slow."""
    source, target = os.pipe()
    read: list[bytes] = []

    def reader() -> None:
        while data := os.read(source, 4096):
            read.append(data)

    thread = threading.Thread(target=reader)
    thread.start()
    writer = Writer(target)
    writer.start()
    pieces = [bytes([number]) * 50_000 for number in range(40)]
    for piece in (*pieces, b""):
        writer.show(piece)
    writer.finish()
    os.close(target)
    thread.join()
    os.close(source)
    assert b"".join(read) == b"".join(pieces)


def test_a_reader_that_went_away_is_told_by_the_next_piece() -> None:
    """And what is on its way then keeps nobody waiting."""
    source, target = os.pipe()
    writer = Writer(target)
    writer.start()
    os.close(source)
    with pytest.raises(BrokenPipeError):
        show_for_long(writer)
    writer.finish()
    os.close(target)
    assert not writer.is_alive()


def show_for_long(writer: Writer) -> None:
    """Write for ten seconds, if nothing says that nobody reads."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        writer.show(b"x" * 4096)


def test_nothing_to_write_is_no_wait() -> None:
    """A child that prints nothing ends at once."""
    source, target = os.pipe()
    writer = Writer(target)
    writer.start()
    writer.finish()
    os.close(source)
    os.close(target)
    assert not writer.is_alive()
