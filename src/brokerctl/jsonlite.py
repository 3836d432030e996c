"""JSON, strictly and without the `json` package, which would cost the warm road 0.7 of a start.

The one module that uses the private C half of the standard library's `json`; `json` itself is
the fallback, and a contract test holds both to the same answers. Reading is strict because what
is read came from an issuer or a disk: no NaN, no duplicate keys, no lone surrogates, bounded
depth (RFC 8259, section 4 and 8; I-JSON, RFC 7493).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Never

    _make_scanner: Callable[..., Callable[[str, int], tuple[Any, int]]] | None
    _make_encoder: Callable[..., Callable[[object, int], tuple[str, ...]]]
    _quote: Callable[[str], str]
else:
    try:
        from _json import encode_basestring_ascii as _quote
        from _json import make_encoder as _make_encoder
        from _json import make_scanner as _make_scanner
    except ImportError:  # pragma: no cover - an interpreter without the C half
        _make_scanner = None

_SPACE = " \t\n\r"
_MAX_NUMBER_CHARS = 30


def _refuse_constant(text: str) -> Never:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:  # inf and nan only; `math` is not on the warm road
        raise ValueError("a number out of range")
    return number


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER_CHARS:
        raise ValueError("a number out of range")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a duplicate key")
    return found


class _Context:
    """What the C scanner reads its settings from; the names are its own."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_unique)
    parse_float = staticmethod(_finite)
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner wants an attribute of this name


def _scanner() -> Callable[[str, int], tuple[Any, int]]:
    if _make_scanner is not None:
        return _make_scanner(_Context())
    import json  # noqa: PLC0415  # pragma: no cover - the public path, only where the C half is missing

    return json.JSONDecoder(
        object_pairs_hook=_unique,
        parse_float=_finite,
        parse_int=_integer,
        parse_constant=_refuse_constant,
    ).raw_decode  # pragma: no cover


_scan = _scanner()


def loads(data: bytes) -> Any:  # noqa: ANN401 - JSON is what it is; callers check types
    """Parse one JSON text in UTF-8; raise ValueError for anything else, and nothing but that."""
    text = data.decode("utf-8")  # UnicodeDecodeError is a ValueError
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _scan(text, start)
        if "\\u" in text:  # from 3.12 on the scanner goes deeper than a Python function may
            _refuse_surrogates(value)
    except (StopIteration, SystemError):
        # SystemError is how the C scanner ends on bad text while json.decoder, whose exception it
        # wants to raise, was never imported.
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if text[end:].strip(_SPACE):
        raise ValueError("more than one JSON text")
    return value


def _refuse_surrogates(value: object) -> None:
    if isinstance(value, str):
        value.encode("utf-8")  # UnicodeEncodeError is a ValueError
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_surrogates(key)
            _refuse_surrogates(item)


def _refuse_type(value: object) -> Never:
    raise TypeError(f"{type(value).__name__} has no JSON form")


def dumps(value: object, *, sort: bool = False) -> str:
    """Render a value as one line of ASCII JSON; NaN and unknown types raise."""
    if _make_scanner is not None:
        skip_keys = allow_nan = False
        encode = _make_encoder({}, _refuse_type, _quote, None, ":", ",", sort, skip_keys, allow_nan)
        return "".join(encode(value, 0))
    import json  # noqa: PLC0415  # pragma: no cover - as above

    return json.dumps(
        value, separators=(",", ":"), sort_keys=sort, allow_nan=False
    )  # pragma: no cover


def quote(text: str) -> str:
    """Render one string as JSON, with its quotation marks."""
    return dumps(text)
