"""Drives one target with inputs that are nearly right: valid ones, bent and cut.

What is tried is the border where bytes of somebody else become values of ours. Such a function
returns, or raises an error of our tree; any other exception is a finding. A finding prints the
input, which then belongs into the ring of the room that it was found in.

Inputs are made by `random` and not by hypothesis, which the properties of tests/property have:
here numbers count, and a valid input with a few edits needs no shrinking.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from brokerctl.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    T = TypeVar("T")
    S = TypeVar("S")
    Maker = Callable[[random.Random], T]

MINUTES = float(os.environ.get("FUZZ_MINUTES", "10"))  # for all targets together, on one core
LOG = os.environ.get("FUZZ_LOG")
FEW = 100
SLOW_S = 20.0  # for one input, on a machine that does other things too
SHOWN_CHARS = 4000


class Target(NamedTuple):
    """What is tried with which inputs; `allowed` are errors that its callers expect beside ours."""

    make: Maker[Any]
    act: Callable[[Any], object]
    allowed: tuple[type[Exception], ...] = ()
    few: int = FEW


def among(values: Iterable[T]) -> Maker[T]:
    """Make one of these."""
    known = list(values)
    return lambda rng: rng.choice(known)


def one_of(*makers: Maker[Any]) -> Maker[Any]:
    """Make what one of these makes."""
    return lambda rng: rng.choice(makers)(rng)


def tuples(*makers: Maker[Any]) -> Maker[tuple[Any, ...]]:
    """Make one of each."""
    return lambda rng: tuple(make(rng) for make in makers)


def lists(make: Maker[T], most: int) -> Maker[list[T]]:
    """Make up to so many."""
    return lambda rng: [make(rng) for _ in range(rng.randint(0, most))]


def mapped(make: Maker[S], change: Callable[[S], T]) -> Maker[T]:
    """Make, and change what was made."""
    return lambda rng: change(make(rng))


def table(make_key: Maker[str], make_value: Maker[T], most: int) -> Maker[dict[str, T]]:
    """Make up to so many names with values."""
    return lambda rng: {make_key(rng): make_value(rng) for _ in range(rng.randint(0, most))}


def chars(alphabet: str, least: int, most: int) -> Maker[str]:
    """Make a text of some characters."""
    return lambda rng: "".join(rng.choices(alphabet, k=rng.randint(least, most)))


def as_text(data: bytes) -> str:
    """Return bytes as a command line has them: what is not UTF-8 becomes half a character."""
    return data.decode("utf-8", "surrogateescape")


def any_text(rng: random.Random) -> str:
    """Make a short text of any characters but half ones."""
    limits = rng.choice([0x7F, 0x7F, 0xFF, 0xD7FF, 0x10FFFF])
    found = (rng.randint(0, limits) for _ in range(rng.randint(0, 12)))
    return "".join(chr(code) for code in found if not 0xD800 <= code <= 0xDFFF)


def nested(rng: random.Random) -> bytes:
    """Make JSON as deep as readers may go, and deeper."""
    depth = rng.choice([rng.randint(1, 300), rng.randint(900, 1010), rng.randint(1, 20_000)])
    before, after = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return before * depth + rng.choice([b"1", b'"\\u0041"', b""]) + after * depth


def few_bytes(rng: random.Random) -> bytes:
    """Make up to six bytes."""
    return rng.randbytes(rng.randint(0, 6))


odd_bytes = one_of(
    few_bytes,
    among(
        [
            *(b"\x00", b"\n", b"\r\n", b"\xff", b"\xef\xbb\xbf", b"\xc3\xa9", b"\xed\xb0\x80"),
            *(b"\\", b'"', b"'", b"\\u0000", b"\\ud800", b"\xe2\x80\xae", b"%00", b"%", b"+"),
            *(b"{", b"}", b"[", b"]", b",", b":", b"=", b"&", b".", b"#", b"?", b"@", b"//"),
            *(b"-1", b"0", b"1e999", b"NaN", b"null", b"true", b"1" * 25, b"9" * 5000, b"1.5"),
            *(b"a" * 300, b" " * 70, b"\t", b"-", b"--", b"*", b"2026-01-05", b'"""'),
        ]
    ),
    lambda rng: nested(rng) if rng.random() < 0.1 else few_bytes(rng),
)
odd_value = one_of(
    among([None, True, False, -1, 0, 1, 2**31, 2**63, 10**25, -(10**29), 10**40]),
    among([0.5, 1e308, float("inf"), float("nan"), -0.0, 1.5e9, 1e15]),
    among(["", "\ud800", "\x00", "\u202e", "é" * 300, "a" * 70_000, "9" * 30, "https://a", "-"]),
    among([[], {}, [[]], [{}], {"": ""}, [None], ["a", 1], {"a": {"b": []}}, [["a"]]]),
    any_text,
)


def mutated(
    seeds: Iterable[bytes], words: Iterable[bytes] = (), size: int = 1 << 17
) -> Maker[bytes]:
    """Take a valid input and edit it in up to six places, with the words of its grammar too."""
    valid, known = list(seeds), list(words)
    put = one_of(among(known), odd_bytes) if known else odd_bytes

    def make(rng: random.Random) -> bytes:
        data = rng.choice(valid)
        for _ in range(rng.choice([0, 1, 1, 2, 3, 6])):
            at = rng.randint(0, len(data))
            cut = rng.choice([0, 1, 1, rng.randint(0, 30), rng.randint(0, len(data))])
            data = data[:at] + rng.choice([b"", put(rng), put(rng)]) + data[at + cut :]
        return data[:size]

    return make


def bent(*valid: object) -> Maker[bytes]:
    """Take valid JSON and put other values, names or nothing into up to three places."""
    texts = [json.dumps(one) for one in valid]

    def make(rng: random.Random) -> bytes:
        root = [json.loads(rng.choice(texts))]
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            spots = list(_spots(root))
            if spots:
                _bend(rng, *rng.choice(spots))
        return json.dumps(root[0] if root else None).encode()  # NaN and half characters too

    return one_of(make, make, mutated([one.encode() for one in texts]))


def _bend(rng: random.Random, holder: Any, key: Any) -> None:  # noqa: ANN401 - a dict or a list
    how = rng.randint(0, 3)
    if how == 0 and isinstance(holder, dict):
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[str(odd_value(rng))[:40]] = holder.pop(key)
    else:
        holder[key] = json.loads(json.dumps(odd_value(rng)))  # a copy: it may be bent itself


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
    """Try the same few inputs each time: that the target still works."""
    for number in range(target.few):
        _try(target, number)


def try_long(name: str, target: Target, seconds: float) -> int:
    """Try inputs, each time others, until the time is over; return how many there were."""
    start = time.monotonic()
    count, first = 0, time.time_ns()
    while time.monotonic() - start < seconds:
        _try(target, first + count)
        count += 1
    if LOG:
        with open(LOG, "a", encoding="utf-8") as log:
            log.write(f"{name}: {count} inputs in {time.monotonic() - start:.0f} s\n")
    return count


def _try(target: Target, number: int) -> None:
    given = target.make(random.Random(number))
    start = time.monotonic()
    try:
        with contextlib.suppress(BrokerError, *target.allowed):
            target.act(given)
    except Exception as error:
        shown = repr(given)[:SHOWN_CHARS]
        raise AssertionError(f"{type(error).__name__} for input {number}: {shown}") from error
    if time.monotonic() - start > SLOW_S:
        raise AssertionError(f"too slow for input {number}: {given!r:.{SHOWN_CHARS}}")
