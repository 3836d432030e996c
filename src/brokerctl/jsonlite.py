"""JSON, strictly and without the `json` package, which would cost the warm road 0.7 of a start.

The one module that uses the private C half of the standard library's `json`; `json` itself is
the fallback, and a contract test holds both to the same answers. Reading is strict because what
is read came from an issuer or a disk: no NaN, no duplicate keys, no lone surrogates, bounded
depth (RFC 8259, section 4 and 8; I-JSON, RFC 7493).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
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
_MAX_UNREAD_DEPTH = 64


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


ODD = object()  # in place of a value that I-JSON does not have: of no type that anybody wants


def _odd_constant(_: str) -> object:
    return ODD


def _odd_if(read: Callable[[str], object]) -> Callable[[str], object]:
    def number(text: str) -> object:
        try:
            return read(text)
        except ValueError:
            return ODD

    return number


def _odd_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[name] = ODD if name in found else value
    return found


class _Context:
    """What the C scanner reads its settings from; the names are its own."""

    strict = True
    object_hook = None

    def __init__(
        self,
        pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]],
        real: Callable[[str], object],
        whole: Callable[[str], object],
        constant: Callable[[str], object],
    ) -> None:
        self.object_pairs_hook = pairs
        self.parse_float = real
        self.parse_int = whole
        self.parse_constant = constant
        self.memo: dict[str, str] = {}  # the scanner wants an attribute of this name


def _scanner(context: _Context) -> Callable[[str, int], tuple[Any, int]]:
    if _make_scanner is not None:
        return _make_scanner(context)
    import json  # noqa: PLC0415  # pragma: no cover - the public path, only where the C half is missing

    return json.JSONDecoder(
        object_pairs_hook=context.object_pairs_hook,
        parse_float=context.parse_float,
        parse_int=context.parse_int,
        parse_constant=context.parse_constant,
    ).raw_decode  # pragma: no cover


_scan = _scanner(_Context(_unique, _finite, _integer, _refuse_constant))


def loads(data: bytes) -> Any:  # noqa: ANN401 - JSON is what it is; callers check types
    """Parse one JSON text in UTF-8; raise ValueError for anything else, and nothing but that."""
    return _parse(data.decode("utf-8"), _scan, _refuse_surrogates)


def loads_needed(data: bytes) -> Any:  # noqa: ANN401 - as above
    """Parse a JSON text of which a few members are needed; ValueError for what is no JSON at all.

    ODD stands for each value that `loads` would refuse the whole text for: a repeated key's, text
    that is no Unicode, a number out of range. So what nobody needs spoils nothing, and what is
    needed has none of two readings.
    """
    text = data.decode("utf-8", "surrogateescape")
    context = _Context(_odd_twice, _odd_if(_finite), _odd_if(_integer), _odd_constant)
    return _parse(text, _scanner(context), _odd_surrogates)


def _parse(
    text: str,
    scan: Callable[[str, int], tuple[Any, int]],
    clean: Callable[[Any], Any],
) -> Any:  # noqa: ANN401 - as above
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = scan(text, start)
        if "\\u" in text or not text.isascii():
            value = clean(value)  # from 3.12 on the scanner goes deeper than a Python function may
    except (StopIteration, SystemError):
        # SystemError is how the C scanner ends on bad text while json.decoder, whose exception it
        # wants to raise, was never imported.
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if text[end:].strip(_SPACE):
        raise ValueError("more than one JSON text")
    return value


def _refuse_surrogates(value: object) -> object:
    if isinstance(value, str):
        value.encode("utf-8")  # UnicodeEncodeError is a ValueError
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_surrogates(key)
            _refuse_surrogates(item)
    return value


def _odd_surrogates(value: object) -> object:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return ODD
    elif isinstance(value, list):
        return [_odd_surrogates(item) for item in value]
    elif isinstance(value, dict):
        return {key: _odd_surrogates(item) for key, item in value.items()}
    return value


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


def dumps_unread(members: dict[str, Any]) -> str:
    """Render members that are only written back, by name; ValueError where they nest too deep.

    So deep that whether they can be written would depend on how deep the calls are just then.
    """
    level: list[object] = [members]
    for _ in range(_MAX_UNREAD_DEPTH):
        level = [item for one in level for item in _items(one)]
        if not level:
            return dumps(members, sort=True)
    raise ValueError("nested too deep")


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def quote(text: str) -> str:
    """Render one string as JSON, with its quotation marks."""
    return dumps(text)
