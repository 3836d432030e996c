"""The passphrase as keeper: the key is derived, so nothing but salt and parameters is stored."""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import KeyLockedError, UsageError
from brokerctl.keys.given import find_given
from brokerctl.keys.kdf import (
    DEFAULT_MEMORY,
    DEFAULT_OPS,
    derive_key,
    new_parameters,
    parse_parameters,
    render_parameters,
)
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.keys import Means
    from brokerctl.keys.pin import Pin

VARIABLE = "BROKERCTL_PASSPHRASE"


class Passphrase:
    """Derives the key from BROKERCTL_PASSPHRASE, its file, or what a person types."""

    def __init__(
        self, means: Means, *, ops: int = DEFAULT_OPS, memory: int = DEFAULT_MEMORY
    ) -> None:
        self._means = means
        self._ops, self._memory = ops, memory

    def make(self, wrap_id: str) -> tuple[bytes, str]:
        """Take a new passphrase, typed twice where it is typed, and derive a key from it."""
        del wrap_id
        parameters = new_parameters(self._ops, self._memory)
        key = derive_key(self._new_passphrase(), parameters)
        return key, jsonlite.dumps(render_parameters(parameters))

    def fetch(self, pin: Pin) -> bytes:
        """Derive the key again; KeyLockedError where there is no passphrase to be had."""
        parameters = parse_parameters(pin.details_dict())
        given = find_given(VARIABLE, self._means.environ, self._means.system)
        if given is None:
            if self._means.ask is None:
                raise KeyLockedError("the key is locked", hint="run 'brokerctl unlock'")
            given = Secret(self._means.ask("passphrase of brokerctl's key"))
        return derive_key(given, parameters)

    def drop(self, pin: Pin) -> None:
        """Do nothing: no key is stored."""

    def _new_passphrase(self) -> Secret:
        given = find_given(VARIABLE, self._means.environ, self._means.system)
        ask = self._means.ask
        if given is None and ask is not None:
            given = Secret(ask("new passphrase for brokerctl's key"))
            if given != Secret(ask("the same again")):
                raise UsageError("the two passphrases differ")
        if given is None:
            raise KeyLockedError(
                "no passphrase is set and nobody can be asked",
                hint=f"run it on a terminal, or set {VARIABLE}_FILE",
            )
        if not given:
            raise UsageError("an empty passphrase protects nothing")
        return given
