"""The credentials that are added to requests: each from the desk, decided for that request anew.

After a 401 one fresh token is asked for, for all requests together that had the refused one: a
storm of refusals costs one issue.
"""

from __future__ import annotations

import base64
import threading
import time

from brokerctl.model import Value
from brokerctl.secret import Secret
from brokerctl.session.mask import forms_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.model import AccessToken
    from brokerctl.session.serve import Desk, DeskRequest

_KEPT = 4  # tokens of a profile that are starred: an upstream may echo one that it saw before
_UNPROVEN_S = (
    30.0  # after a fresh token that no upstream has taken yet, until the next is asked for
)
_REPLACED = 64
_UNAUTHORIZED = 401
_AUTHORIZATION = "Authorization"


class AddedCredential(Value):
    """What is added to a request: a header, and what an upstream must not echo of it."""

    header: str
    value: Secret
    fingerprint: str  # of the token
    masked: tuple[bytes, ...]  # every form of it, the longest first


class Credentials:
    """The tokens of one profile, on their way from the desk to requests."""

    def __init__(
        self,
        desk: Desk,
        present: tuple[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`present` is the profile's: how its hosts are shown a token."""
        self._desk = desk
        self._present = present
        self._clock = clock
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._forms: dict[str, tuple[bytes, ...]] = {}  # by fingerprint, the newest last
        self._masked: tuple[bytes, ...] = ()
        self._latest = ""  # fingerprint
        self._replaced: dict[str, None] = {}  # fingerprints for which a fresh one was asked
        self._unproven = ""
        self._paused_until = 0.0

    def get(self, asked: DeskRequest) -> AddedCredential:
        """Return what goes with one request; raises what the desk raises."""
        return self._credential(self._desk.get(asked))

    def renew(self, asked: DeskRequest, refused: AddedCredential) -> AddedCredential | None:
        """Return another credential after an upstream's 401; None if there is none to try."""
        with self._renewing:
            name = refused.fingerprint
            if name in self._replaced or name != self._latest:
                return self._other(self._desk.get(asked), name)
            if self._clock() < self._paused_until:
                return None
            self._replaced[name] = None
            while len(self._replaced) > _REPLACED:
                del self._replaced[next(iter(self._replaced))]
            self._paused_until = self._clock() + _UNPROVEN_S
            token = self._desk.get(asked.replace(is_fresh=True))
            self._unproven = token.fingerprint
            return self._other(token, name)

    def note(self, used: AddedCredential | None, status: int) -> None:
        """Note how an upstream answered: a token that it took may be replaced later."""
        is_taken = status not in {0, _UNAUTHORIZED}
        if is_taken and used is not None and used.fingerprint == self._unproven:
            self._unproven, self._paused_until = "", 0.0

    def _other(self, token: AccessToken, name: str) -> AddedCredential | None:
        return None if token.fingerprint == name else self._credential(token)

    def _credential(self, token: AccessToken) -> AddedCredential:
        header, value = _presented(token.value, self._present)
        return AddedCredential(
            header=header,
            value=value,
            fingerprint=token.fingerprint,
            masked=self._masked_with(token),
        )

    def _masked_with(self, token: AccessToken) -> tuple[bytes, ...]:
        with self._lock:
            self._latest = token.fingerprint
            if token.fingerprint not in self._forms:
                self._forms[token.fingerprint] = forms_of(token.value.reveal())
                while len(self._forms) > _KEPT:
                    del self._forms[next(iter(self._forms))]
                found = {form for forms in self._forms.values() for form in forms}
                self._masked = tuple(sorted(found, key=lambda form: (-len(form), form)))
            return self._masked


def _presented(value: Secret, present: tuple[str, str] | None) -> tuple[str, Secret]:
    """Return the header for a token: RFC 6750's unless the profile names another, or RFC 7617's."""
    if present is None:
        return _AUTHORIZATION, Secret(f"Bearer {value.reveal()}")
    kind, name = present
    if kind == "header":
        return name, value
    pair = base64.b64encode(f"{name}:{value.reveal()}".encode()).decode("ascii")
    return _AUTHORIZATION, Secret(f"Basic {pair}")
