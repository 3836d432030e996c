"""A value that must not be seen: it prints as stars, and reading it is greppable."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hmac import compare_digest as same_bytes
    from typing import Never
else:
    try:  # One module may use this private name: `hmac` costs 0.4 of an interpreter's start.
        from _operator import _compare_digest as same_bytes
    except ImportError:  # pragma: no cover - another interpreter: the same function's public name
        from hmac import compare_digest as same_bytes

STARS = "****"


class Secret:
    """A refresh token, access token, client secret, verifier, key or device code.

    Printing, formatting, logging and pickling show nothing; `reveal()` is the only way to the
    text, so that every use of a secret can be found with grep. Equality takes constant time.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text. Security: each caller is a place where a secret can leak."""
        return self._value

    def __repr__(self) -> str:
        return STARS

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return STARS

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return same_bytes(
            self._value.encode("utf-8", "surrogatepass"),
            other._value.encode("utf-8", "surrogatepass"),
        )

    __hash__ = None  # type: ignore[assignment]  # a hash would make a secret usable as a dict key

    def __reduce__(self) -> Never:
        raise TypeError("a secret can't be pickled")
