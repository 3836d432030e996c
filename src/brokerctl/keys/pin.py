"""The pinned choice: which keeper has the wrapping key, in `keys/keeper.json`.

It is written once, at first use, and changed by `rekey` alone. While a `rekey` is under way it
names two: the new one and, as `previous`, the one before; the ring file says which of them it is
sealed by, so that a crash at any moment leaves a ring that opens.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import StoreError
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "keeper.json"
MAX_BYTES = 64 * 1024
_VERSION = 1
_KNOWN = {"version", "keeper", "id", "details", "previous"}
_ID_CHARS = 32
_HINT = "put keys/ back from a backup"


class Pin(Value):
    """A keeper, the id of the wrapping key that it keeps, and what it noted for itself."""

    keeper: str
    wrap_id: str  # 32 hex characters, random; nothing about the key can be told from it
    details: str = "{}"  # JSON, nothing secret: the passphrase keeper's parameters and salt
    previous: Pin | None = None
    unknown: str = "{}"  # JSON: members of a later version, written back as they were

    def details_dict(self) -> dict[str, Any]:
        """Return what the keeper noted."""
        found = jsonlite.loads(self.details.encode())
        return found if isinstance(found, dict) else {}


def render_pin(pin: Pin) -> bytes:
    """Render the choice as the file's JSON."""
    body = {"version": _VERSION, **_as_json(pin)}
    if pin.previous is not None:
        body["previous"] = _as_json(pin.previous)
    return jsonlite.dumps(body).encode() + b"\n"


def _as_json(pin: Pin) -> dict[str, Any]:
    known = {"keeper": pin.keeper, "id": pin.wrap_id, "details": pin.details_dict()}
    return jsonlite.loads(pin.unknown.encode()) | known  # type: ignore[no-any-return]  # an object


def parse_pin(data: bytes) -> Pin:
    """Parse the file, or raise StoreError naming it."""
    try:
        found = jsonlite.loads(data)
        version = found["version"]
        if version == _VERSION:
            return _pin(found, _pin(found["previous"]) if "previous" in found else None)
    except (ValueError, TypeError, KeyError):
        raise StoreError("keys/keeper.json is not what it should be", hint=_HINT) from None
    raise StoreError(
        f"keys/keeper.json has format {version} and this brokerctl reads {_VERSION}",
        hint="use the version of brokerctl that wrote it",
    )


def _pin(found: dict[str, Any], previous: Pin | None = None) -> Pin:
    keeper, wrap_id, details = found["keeper"], found["id"], found["details"]
    if not all(isinstance(one, str) for one in (keeper, wrap_id)) or not isinstance(details, dict):
        raise TypeError("not a keeper")
    if len(wrap_id) != _ID_CHARS or wrap_id.strip("0123456789abcdef"):
        raise ValueError("not an id")
    return Pin(
        keeper=keeper,
        wrap_id=wrap_id,
        details=jsonlite.dumps(details),
        previous=previous,
        unknown=jsonlite.dumps_unread({name: found[name] for name in found.keys() - _KNOWN}),
    )
