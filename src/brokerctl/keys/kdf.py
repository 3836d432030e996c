"""A key from a passphrase: argon2id (RFC 9106) of libsodium, its parameters bounded both ways.

Security: the parameters come from a file that an attacker may have edited. They are checked before
anything is derived: below the floor a guess would be cheap, above the ceiling opening the file
would take the machine's memory.
"""

from __future__ import annotations

from binascii import a2b_hex

from brokerctl.errors import StoreError
from brokerctl.model import Value
from brokerctl.sodium import KEY_BYTES, random_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.secret import Secret

SALT_BYTES = 16
_MIB = 1024 * 1024
OPS_FLOOR, OPS_CEILING = 2, 16
MEMORY_FLOOR, MEMORY_CEILING = 64 * _MIB, 512 * _MIB
DEFAULT_OPS, DEFAULT_MEMORY = 3, 128 * _MIB
_NAME = "argon2id"


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
    """Refuse parameters that are too cheap for a guesser or too dear for us."""
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
