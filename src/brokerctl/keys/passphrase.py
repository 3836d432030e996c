"""The passphrase as keeper: the key is derived, so nothing but salt and parameters is stored."""

from __future__ import annotations

from binascii import a2b_hex

from brokerctl import jsonlite
from brokerctl.errors import KeyLockedError, StoreError, UsageError
from brokerctl.keys.env import find_given
from brokerctl.model import Value
from brokerctl.secret import Secret
from brokerctl.sodium import KEY_BYTES, random_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.keys import Means
    from brokerctl.keys.pin import Pin

SALT_BYTES = 16
_MIB = 1024 * 1024
OPS_FLOOR, OPS_CEILING = 2, 16
MEMORY_FLOOR, MEMORY_CEILING = 64 * _MIB, 512 * _MIB
DEFAULT_OPS, DEFAULT_MEMORY = 3, 128 * _MIB
_NAME = "argon2id"
VARIABLE = "BROKERCTL_PASSPHRASE"


class Parameters(Value):
    """What derives a key, beside the passphrase; nothing secret."""

    salt: str  # hex
    ops: int = DEFAULT_OPS
    memory: int = DEFAULT_MEMORY  # bytes


def new_parameters(ops: int = DEFAULT_OPS, memory: int = DEFAULT_MEMORY) -> Parameters:
    """Choose a new salt."""
    return Parameters(salt=random_bytes(SALT_BYTES).hex(), ops=ops, memory=memory)


def render_parameters(parameters: Parameters) -> dict[str, Any]:
    """Return the parameters as a JSON object."""
    return {"kdf": _NAME, **parameters.as_dict()}


def parse_parameters(found: dict[str, Any]) -> Parameters:
    """Check and return parameters that a file names, or raise StoreError."""
    if set(found) != {"kdf", "salt", "ops", "memory"} or found["kdf"] != _NAME:
        raise StoreError("the passphrase's parameters are not what they should be")
    parameters = Parameters(salt=found["salt"], ops=found["ops"], memory=found["memory"])
    check_parameters(parameters)
    return parameters


def check_parameters(parameters: Parameters) -> None:
    """Refuse parameters that make guessing cheap, or that need too much memory or time here."""
    for name, low, high in (
        ("ops", OPS_FLOOR, OPS_CEILING),
        ("memory", MEMORY_FLOOR, MEMORY_CEILING),
    ):
        value = getattr(parameters, name)
        if type(value) is not int or not low <= value <= high:
            raise StoreError(f"the passphrase's '{name}' is not between {low} and {high}")
    try:
        is_salt = len(a2b_hex(parameters.salt)) == SALT_BYTES
    except (ValueError, TypeError):
        is_salt = False
    if not is_salt:
        raise StoreError(f"the passphrase's salt is not {SALT_BYTES} bytes in hex")


def derive_key(passphrase: Secret, parameters: Parameters) -> bytes:
    """Derive the 32-byte key; some tenths of a second and `memory` bytes."""
    check_parameters(parameters)
    from nacl.bindings import (  # noqa: PLC0415 - slow to load, and the checks come first
        crypto_pwhash_alg,
        crypto_pwhash_ALG_ARGON2ID13,
    )

    try:
        return crypto_pwhash_alg(
            KEY_BYTES,
            passphrase.reveal().encode("utf-8", "surrogateescape"),
            a2b_hex(parameters.salt),
            parameters.ops,
            parameters.memory,
            crypto_pwhash_ALG_ARGON2ID13,
        )
    except (MemoryError, RuntimeError) as error:
        raise StoreError(
            f"not enough memory for the passphrase: {parameters.memory // _MIB} MiB are needed"
        ) from error


class PassphraseKeeper:
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
