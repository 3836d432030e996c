"""Drives one target with inputs that are nearly right: valid ones, bent and cut.

What is tried is the border where bytes of somebody else become values of ours. Such a function
returns, or raises an error of our tree; any other exception is a finding. A finding prints the
input, which then belongs into the ring of the room that it was found in.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from brokerctl.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hypothesis.strategies import SearchStrategy

MINUTES = float(os.environ.get("FUZZ_MINUTES", "10"))  # for all targets together, on one core
LOG = os.environ.get("FUZZ_LOG")
FEW, MANY = 25, 400
SLOW_S = 20.0  # for one input, on a machine that does other things too


class Target(NamedTuple):
    """What is tried with which inputs; `allowed` are errors that its callers expect beside ours."""

    inputs: SearchStrategy[Any]
    act: Callable[[Any], object]
    allowed: tuple[type[Exception], ...] = ()


DEPTHS = st.integers(1, 3000)
NESTED = st.one_of(
    st.builds(lambda depth: b"[" * depth + b"]" * depth, DEPTHS),
    st.builds(lambda depth: b'{"a":' * depth + b'"\\u0041"' + b"}" * depth, DEPTHS),
    st.builds(lambda depth: b"[" * depth + b'"\\u0041"' + b"]" * depth, DEPTHS),
)
ODD_BYTES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [
            *(b"\x00", b"\n", b"\r\n", b"\xff", b"\xef\xbb\xbf", b"\xc3\xa9", b"\xed\xb0\x80"),
            *(b"\\", b'"', b"'", b"\\u0000", b"\\ud800", b"\xe2\x80\xae", b"%00", b"%", b"+"),
            *(b"{", b"}", b"[", b"]", b",", b":", b"=", b"&", b".", b"#", b"?", b"@", b"//"),
            *(b"-1", b"0", b"1e999", b"NaN", b"null", b"true", b"1" * 25, b"9" * 5000, b"1.5"),
            *(b"a" * 300, b" " * 70, b"\t", b"-", b"--", b"*", b"2026-01-05", b'"""'),
        ]
    ),
    NESTED,
)
ODD_VALUES = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            *("", "\ud800", "\x00", "\u202e", "é" * 300, "a" * 70_000, "9" * 30, "https://a", "-"),
            *(-1, 2**31, 2**63, 10**25, 1e308, float("inf"), float("nan"), 0.5),
            *([], {}, [[]], [{}], {"": ""}, [None], ["a", 1], {"a": {"b": []}}),
        ]
    ),
)


def mutated(
    seeds: Iterable[bytes], words: Iterable[bytes] = (), size: int = 1 << 17
) -> SearchStrategy[bytes]:
    """Take a valid input and edit it in up to six places, with the words of its grammar too."""
    known = list(words)
    put = st.sampled_from(known) | ODD_BYTES if known else ODD_BYTES
    edit = st.tuples(st.integers(0, 1 << 16), st.integers(0, 30), put)
    edits = st.lists(edit, max_size=6)
    return st.builds(_edited, st.sampled_from(list(seeds)), edits).map(lambda data: data[:size])


def _edited(data: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    for place, cut, put in edits:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + cut :]
    return data


def bent(*valid: object) -> SearchStrategy[bytes]:
    """Take valid JSON and put other values, names or nothing into up to three places."""
    change = st.tuples(st.integers(0, 1 << 16), st.sampled_from("setdropname"), ODD_VALUES)
    changes = st.lists(change, max_size=3)
    whole = st.builds(_bent, st.sampled_from([json.dumps(one) for one in valid]), changes)
    return whole | mutated([json.dumps(one).encode() for one in valid])


def _bent(text: str, changes: Sequence[tuple[int, str, Any]]) -> bytes:
    root = [json.loads(text)]
    for place, how, value in changes:
        spots = list(_spots(root))
        holder, key = spots[place % len(spots)]
        if how in "drop" and isinstance(holder, dict):
            del holder[key]
        elif how in "name" and isinstance(holder, dict):
            holder[str(value)[:40]] = holder.pop(key)
        else:
            holder[key] = value
    return json.dumps(root[0]).encode()  # NaN and lone surrogates too


def _spots(value: object) -> Iterable[tuple[Any, Any]]:
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        yield from _spots(inner)


def try_few(target: Target) -> None:
    """Try so many inputs as cost nothing: that the target still works."""
    _run(target, FEW, 1, lambda: None)


def try_long(name: str, target: Target, seconds: float) -> int:
    """Try inputs, each time others, until the time is over; return how many there were."""
    start = time.monotonic()
    count = rounds = 0

    def tick() -> None:
        nonlocal count
        count += 1

    while time.monotonic() - start < seconds:
        rounds += 1
        _run(target, MANY, int(time.time() * 1000) + rounds, tick)
    if LOG:
        with open(LOG, "a", encoding="utf-8") as log:
            log.write(f"{name}: {count} inputs in {time.monotonic() - start:.0f} s\n")
    return count


def _run(target: Target, examples: int, number: int, tick: Callable[[], None]) -> None:
    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def body(given_input: object) -> None:
        tick()
        start = time.monotonic()
        with contextlib.suppress(BrokerError, *target.allowed):
            target.act(given_input)
        assert time.monotonic() - start < SLOW_S

    body()
